PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo docs lint test test-all web

demo: $(VENV)/.installed
	$(BIN)/python tools/demo.py

# A worker takes a file at a time, in the order of tests/conftest.py. Lint runs beside them; its lines come last.
test: WHICH :=
test-all: WHICH := -m ""
test test-all: $(VENV)/.installed
	@mkdir -p build
	@$(MAKE) --no-print-directory lint >build/lint.txt 2>&1 & lint=$$!; \
	$(BIN)/python -m pytest -n auto --dist=loadfile --no-loadscope-reorder $(WHICH); tests=$$?; \
	wait $$lint; lint=$$?; cat build/lint.txt; exit $$((tests ? tests : lint))

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

web: $(VENV)/.installed
	$(BIN)/ds-keras web --preset=ds_mobilenet --output=build/web/page.html

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

$(VENV)/.installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[test,demo]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -e '.[docs]'
	touch $@
