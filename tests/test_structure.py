"""What a room may import: the rule of WORKSPACE.md, read off the code."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ds_keras"
BASE = {"core"}
MODELS = {"models", "layers", "routing", "policies", "core", "photos"}
TRAINING = {*MODELS, "quantization", "evaluation", "convert", "data", "zoo"}
EXPORT = {*MODELS, "quantization", "evaluation", "data", "runtime"}
MAY_IMPORT = {
    "photos": set(),
    "core": {"photos"},
    "policies": set(),
    "data": {"core.files", "photos"},
    "layers": BASE,
    "routing": {*BASE, "policies"},
    "models": MODELS,
    "runtime": {"policies", "core.files", "photos"},
    "quantization": MODELS,
    "evaluation": MODELS,
    "convert": MODELS,
    "zoo": {*MODELS, "evaluation"},
    "training": TRAINING,
    "export": EXPORT,
    "benchmarks": {*TRAINING, *EXPORT, "training", "export"},
    "report": {*TRAINING, *EXPORT, "training", "export", "benchmarks"},
    "experiments": {*TRAINING, *EXPORT, "training", "export", "benchmarks", "report"},
}
MAY_IMPORT["detection"] = {*MAY_IMPORT["experiments"], "experiments"}
MAY_IMPORT["cli"] = {*MAY_IMPORT["detection"], "detection"}


def imports(path, typing=False):
    """The modules that a file imports, but those for type checkers; (line, module)."""

    def found(nodes):
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typing:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            yield from found(ast.iter_child_nodes(node))

    return [(line, name) for line, name in found(ast.parse(path.read_text()).body) if name.startswith("ds_keras.")]


def files():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE]


def test_rooms_import_downwards():
    wrong = []
    for path in files():
        room = path.relative_to(PACKAGE).parts[0]
        if room == "lcnet":  # may import anything
            continue
        allowed = {room, "moved", "__version__", *MAY_IMPORT[room]}
        for line, name in imports(path):
            inside = name.removeprefix("ds_keras.")
            if not any(inside == one or inside.startswith(f"{one}.") for one in allowed):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_lcnet():
    for path in files():
        if path.relative_to(PACKAGE).parts[0] != "lcnet":
            assert not [name for _, name in imports(path, typing=True) if name.startswith("ds_keras.lcnet")], path


def test_no_circles_between_files():
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in files()}
    graph = {}
    for module, path in names.items():
        targets = set()
        for _, name in imports(path):
            known = [m for m in (name, name.rpartition(".")[0]) if m in names]
            targets.update(known[:1])
        graph[module] = targets - {module}
    done, walking = set(), []

    def visit(module):
        assert module not in walking, " -> ".join([*walking[walking.index(module) :], module])
        if module in done:
            return
        walking.append(module)
        for target in sorted(graph[module]):
            visit(target)
        done.add(walking.pop())

    for module in sorted(graph):
        visit(module)


def test_rooms_are_small():
    for folder in {path.parent for path in files()}:
        modules = [path.name for path in folder.glob("*.py")]
        assert len(modules) <= 12, (folder, modules)
