PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo docs lint test test-all web

demo: $(VENV)/.installed
	$(BIN)/python tools/demo.py

test: $(VENV)/.installed lint
	$(BIN)/python -m pytest -n auto --dist=loadfile

test-all: $(VENV)/.installed lint
	$(BIN)/python -m pytest -n auto --dist=loadfile -m ""

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
