"""The house: imports run one way, and no two folders import each other."""

import ast
import re
from collections import defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each layer may import itself and those before it.
LAYERS = ("data", "models", "service", "training")
LOOSE = {
    "data": {"errors.py", "atomic_write.py"},
    "models": set(),
    "service": {"classifier.py", "events.py"},
    "training": {"cli.py"},
}
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("earful", *parts)).removesuffix(".__init__")


PAIRS = list(combinations(LAYERS, 2))
MODULES = {module_of(path): path for path in SOURCES}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of what a module imports, wherever it does: also in functions and for types."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else str(node.module))
    return frozenset(found)


def folder_arrows() -> dict[tuple[str, str], set[str]]:
    """(importing folder, imported folder) to the modules that make the arrow."""
    arrows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, path in MODULES.items():
        source = path.parent.relative_to(ROOT).as_posix()
        for module in imported(path) & MODULES.keys():
            target = MODULES[module].parent.relative_to(ROOT).as_posix()
            if source != target:
                arrows[source, target].add(f"{name} imports {module}")
    return arrows


ARROWS = folder_arrows()


def and_above(folder: str) -> list[str]:
    """A folder and those that hold it."""
    parts = folder.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def test_no_two_folders_import_each_other() -> None:
    assert len(ARROWS) > 50
    mutual = {pair: ARROWS[pair] for pair in ARROWS if pair[::-1] in ARROWS}
    assert mutual == {}


def test_no_two_folders_import_each_other_with_all_that_is_below_them() -> None:
    arrows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (source, target), modules in ARROWS.items():
        for outer in and_above(source):
            for inner in and_above(target):
                nested = f"{outer}/".startswith(f"{inner}/") or f"{inner}/".startswith(f"{outer}/")
                if not nested:
                    arrows[outer, inner] |= modules
    mutual = {pair: arrows[pair] for pair in arrows if pair[::-1] in arrows}
    assert mutual == {}


def test_folders_import_each_other_in_no_circle_of_any_length() -> None:
    targets: dict[str, set[str]] = defaultdict(set)
    for source, target in ARROWS:
        targets[source].add(target)
    left = {folder for pair in ARROWS for folder in pair}
    while free := {folder for folder in left if not targets[folder] & left}:
        left -= free
    assert left == set()


@pytest.mark.parametrize(("lower", "upper"), PAIRS)
def test_no_layer_imports_one_above_it(lower: str, upper: str) -> None:
    assert {pair for pair in ARROWS if pair[0].split("/")[0] == lower} & {
        pair for pair in ARROWS if pair[1].split("/")[0] == upper
    } == set()


@pytest.mark.parametrize(("lower", "upper"), PAIRS)
def test_no_layer_names_a_module_above_it_in_a_string(lower: str, upper: str) -> None:
    name = re.compile(rf"\b{upper}\.[a-z_]+\.[a-z_]+|earful\.{upper}|from {upper}\b")
    for path in (ROOT / lower).rglob("*.py"):
        assert not [text for text in strings(path) if name.search(text)], path


@cache
def strings(path: Path) -> list[str]:
    """All strings of a module but its docstrings: the tree of errors names all layers in one."""
    tree = parsed(path)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, documented)
    }
    found = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    return [text for text in found if isinstance(text, str) and text not in docstrings]


@pytest.mark.parametrize("layer", LAYERS)
def test_only_the_named_files_lie_loose_in_a_layer(layer: str) -> None:
    loose = {path.name for path in (ROOT / layer).glob("*.py")}
    assert loose == {"__init__.py", *LOOSE[layer]}


@pytest.mark.parametrize("layer", LAYERS)
def test_loose_files_but_the_command_line_import_no_folder_of_their_own_layer(layer: str) -> None:
    found = {
        target for source, target in ARROWS if source == layer and target.startswith(f"{layer}/")
    }
    assert found == ({"training/commands"} & found)


def test_nothing_imports_tests() -> None:
    for path in SOURCES:
        assert not {name for name in imported(path) if name.split(".")[0] == "tests"}, path


def test_onnxruntime_is_imported_in_one_place() -> None:
    importing = [path.name for path in SOURCES if "onnxruntime" in imported(path)]
    assert importing == ["runtime.py"]


@pytest.mark.parametrize("package", [p for p in SOURCES if p.name == "__init__.py"], ids=module_of)
def test_each_folder_says_what_it_is_and_does_nothing_when_imported(package: Path) -> None:
    body = parsed(package).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def test_public_classes_have_names_of_their_own() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for name, path in MODULES.items():
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(name)
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}
