"""Who may import whom: the layers of the library, and that training can never reach ground truth."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module may import from its own layer and from those above it. A name stands for the module or for a whole package;
# K-Means stands by itself, since the model, too, divides maps by it.
LAYERS = [
    {"_torchvision", "devices", "errors", "hub", "paths", "stopping"},
    {"arguments", "cost", "images", "phrases", "slips"},
    {"pseudo_masks.kmeans"},
    {"models", "features", "checkpoint"},
    {"export", "inference", "pseudo_masks", "metrics", "truth"},
    {"segmentation", "vocabulary"},
    {"segmenter"},
    {"open_vocabulary", "fixed_vocabulary", "comparison"},
    {"loading"},
    {"__main__", "cli", "app"},
]
KNOW_THE_TRUTH = {"sseg.metrics", "sseg.truth", "train.evaluation"}
MAY_KNOW_THE_TRUTH = ("train.evaluation", "train.evaluate")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(p): p for folder in ("sseg", "train") for p in sorted((ROOT / folder).rglob("*.py"))}
TRAINING = sorted(m for m in FILES if m.startswith("train.") and not m.startswith(MAY_KNOW_THE_TRUTH))
LIBRARY = sorted(m for m in FILES if m.startswith("sseg."))


@cache
def imports(module):
    """Full names of all that a module imports, also inside functions; our own names are cut to existing modules."""
    path, found = FILES[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else source for name in names}
        elif is_import_module(node):
            found.add(node.args[0].value)
    return found


def executed(tree):
    """The nodes of a syntax tree that can run: all but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield node
            yield from executed(node)


def is_import_module(node):
    """`import_module("...")` with the name written out."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return False
    return getattr(node.func, "id", getattr(node.func, "attr", "")) in ("import_module", "__import__")


def chain_to_truth(module, seen):
    """The way from a module to ground truth, over everything of ours that it imports, or None."""
    for name in sorted(imports(module)):
        if any(name == truth or name.startswith(truth + ".") for truth in KNOW_THE_TRUTH):
            return [module, name]
        if name in FILES and name not in seen:
            seen.add(name)
            if rest := chain_to_truth(name, seen):
                return [module, *rest]
    return None


def layer(module):
    """Height of a library module: 0 is what everything may use."""
    parts = module.split(".")[1:]
    for end in range(len(parts), 0, -1):
        for height, names in enumerate(LAYERS):
            if ".".join(parts[:end]) in names:
                return height
    raise AssertionError(f"{module} has no layer yet: add it to LAYERS in tests/test_rooms.py")


@pytest.mark.parametrize("module", LIBRARY)
def test_a_library_module_knows_only_the_layers_below(module):
    higher = [m for m in imports(module) if m.startswith("sseg.") and layer(m) > layer(module)]
    assert not higher, f"{module} reaches up to {higher}"


@pytest.mark.parametrize("module", [*LIBRARY, "sseg"])
def test_the_library_never_imports_training_and_only_the_app_gradio(module):
    roots = {name.split(".")[0] for name in imports(module)}
    assert "train" not in roots
    assert module.startswith("sseg.app") or not roots & {"gradio", "gradio_client"}


@pytest.mark.parametrize("module", TRAINING)
def test_training_cannot_reach_ground_truth(module):
    chain = chain_to_truth(module, {module})
    assert chain is None, " imports ".join(chain)


def test_the_check_sees_a_forbidden_import(tmp_path, monkeypatch):
    spy = tmp_path / "spy.py"
    spy.write_text("def f():\n    from train.evaluation.datasets import stickers\n")
    middle = tmp_path / "middle.py"
    middle.write_text("from train import spy\n")
    monkeypatch.setitem(FILES, "train.spy", spy)
    monkeypatch.setitem(FILES, "train.middle", middle)
    assert chain_to_truth("train.middle", set())[:2] == ["train.middle", "train.spy"]


def test_the_check_passes_over_imports_for_types_alone(tmp_path, monkeypatch):
    code = "if TYPE_CHECKING:\n    import sseg.truth\nif DEBUGGING:\n    import sseg.paths\n"
    (tmp_path / "typed.py").write_text(code)
    monkeypatch.setitem(FILES, "train.typed", tmp_path / "typed.py")
    assert imports("train.typed") == {"sseg.paths"}


def test_no_import_cycles():
    visiting, done = [], set()

    def visit(module):
        assert module not in visiting, " imports ".join([*visiting[visiting.index(module) :], module])
        if module in done:
            return
        visiting.append(module)
        for name in imports(module) & FILES.keys():
            if name != "sseg":  # the package itself imports its modules only when asked for a name
                visit(name)
        done.add(visiting.pop())

    for module in FILES:
        visit(module)
