"""One import package: nothing else of ours is importable, whatever folders lie around."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("data", "models", "service", "training")

IMPORT_ALL = """
import importlib, os, pkgutil, sys
import earful

for module in pkgutil.walk_packages(earful.__path__, "earful."):
    if not module.name.startswith("earful.training.recipes.digits."):
        importlib.import_module(module.name)
files = {}
for name, module in list(sys.modules.items()):
    path = getattr(module, "__file__", None)
    folder = os.path.relpath(os.path.realpath(path), sys.argv[1]).split(os.sep)[0] if path else ""
    if folder in ("data", "models", "service", "training", ".src"):
        files.setdefault(os.path.realpath(path), []).append(name)
print(len(files), [names for names in files.values() if len(names) > 1])
print([n for n in sys.modules if n.split(".")[0] in ("data", "models", "service", "training")])
"""


def python(code: str, *arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_no_module_is_loaded_under_two_names(tmp_path: Path) -> None:
    counted, top_level = python(IMPORT_ALL, ROOT.resolve(), cwd=tmp_path).splitlines()
    number, _, twice = counted.partition(" ")
    assert int(number) > 300
    assert twice == "[]"
    assert top_level == "[]"


def test_importing_earful_loads_neither_torch_nor_onnxruntime_nor_numpy(tmp_path: Path) -> None:
    code = "import sys, earful; print(sorted({'torch', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    assert python(code, cwd=tmp_path) == "[]\n"


def test_version_is_that_of_the_command_and_of_the_module_run_as_a_program(tmp_path: Path) -> None:
    version = python("import earful; print(earful.__version__)", cwd=tmp_path).strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    for program in (
        [sys.executable, "-m", "earful"],
        [str(Path(sys.executable).with_name("earful"))],
    ):
        done = subprocess.run(
            [*program, "--version"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        assert done.stdout == f"earful {version}\n"


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A working folder with packages of the user's own that have our folders' names."""
    for name in LAYERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not yours')\n")
    return tmp_path


@pytest.mark.slow
def test_folders_of_the_users_own_are_never_imported(crowded: Path) -> None:
    (crowded / "script.py").write_text(
        "import earful\n"
        "from earful.data.labels.labels_csv import read_labels\n"
        "print(earful.load().labels[3])\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=crowded, check=True, capture_output=True, text=True
    )
    assert done.stdout == "3\n"
    command = Path(sys.executable).with_name("earful")
    helped = subprocess.run(
        [command, "classify", "--help"], cwd=crowded, capture_output=True, check=False
    )
    assert helped.returncode == 0


@pytest.mark.slow
@pytest.mark.packaging
def test_the_wheel_holds_earful_alone(tmp_path: Path) -> None:
    subprocess.run(
        ["uv", "build", "--wheel", "--out-dir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"earful", "earful-0.1.0.dist-info"}
    for needed in (
        "service/web/index.html",
        "service/web/on_device/worker.js",
        "models/pretrained/digits.onnx",
        "models/pretrained/digits-small.onnx",
        "py.typed",
        "__main__.py",
    ):
        assert f"earful/{needed}" in names
    assert len(names) == len(set(names))


def without_links(folder: Path) -> Path:
    """The project as a clone has it in which git wrote links as text files."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".src"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True)
        else:
            shutil.copy(source, folder / name)
    for layer in LAYERS:
        link = folder / ".src" / "earful" / layer
        link.unlink()
        link.write_text(f"../../{layer}")
    return folder


def test_a_clone_without_links_says_so_at_import(tmp_path: Path) -> None:
    package = without_links(tmp_path) / ".src"
    done = subprocess.run(
        [sys.executable, "-c", "import earful"],
        env={"PYTHONPATH": str(package)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1].startswith(
        "ImportError: earful/data is no folder: this clone was made without symbolic links."
    )


@pytest.mark.slow
@pytest.mark.packaging
def test_a_clone_without_links_builds_no_wheel(tmp_path: Path) -> None:
    done = subprocess.run(
        ["uv", "build", "--wheel", str(without_links(tmp_path))],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "symbolic links" in done.stderr
