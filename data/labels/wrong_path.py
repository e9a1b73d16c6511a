"""What lies at a path that a command does not take, and the command that does: for its error."""

import itertools
from pathlib import Path

from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.audio.system_files import visible_files
from earful.data.errors import command

# In a run folder (training.trainer.checkpoint) and a dataset (data.dataset.dataset).
_CHECKPOINTS = ("best.pt", "last.pt")
_MANIFEST, _LABELS_CSV = "dataset.json", "labels.csv"
# Of exports and tracks of annotation tools.
_TOOL_SUFFIXES = frozenset({".csv", ".json", ".tsv", ".txt"})
# Enough to know a folder by; a large one is not searched to its end.
_MAX_FILES = 1000


def describe_wrong_path(path: Path, *, importing: bool = False) -> str:
    """What ``path`` is, and the command that takes it; empty if it is of no known kind.

    ``importing`` is in `earful labels import`, which is no advice there.
    """
    if path.is_dir():
        return describe_own_folder(path) or _describe_folder(path, importing=importing)
    return _describe_file(path, importing=importing)


def describe_own_folder(folder: Path) -> str:
    """What a folder of ours is, a dataset or a run, and the command that takes it; else empty."""
    if (folder / _MANIFEST).is_file():
        return (
            f"{folder} is a dataset; train on it: {command('train', folder, '--out', 'RUN')}; its "
            f"clips are listed in {folder / _LABELS_CSV}"
        )
    if any((folder / name).is_file() for name in _CHECKPOINTS):
        return f"{folder} is a run; export it: {_export(folder)}"
    return ""


def _describe_folder(folder: Path, *, importing: bool) -> str:
    if (folder / _LABELS_CSV).is_file():
        return f"{folder} is a folder with a labels CSV; give that: {folder / _LABELS_CSV}"
    files = [Path(name) for name in itertools.islice(visible_files(folder), _MAX_FILES)]
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    import_command = command("labels", "import", folder, "--out", _LABELS_CSV)
    if not importing and any(path.suffix.lower() in _TOOL_SUFFIXES for path in files):
        return f"{folder} may hold labels of another tool; read them: {import_command}"
    if not recordings:
        held = "holds no recording" if files else "is an empty folder"
        return (
            f"{folder} {held}; label recordings in a CSV with the columns filename and label, or "
            "put them in a folder for each label, for `earful prepare FOLDER`"
        )
    if all(len(path.parts) == 1 for path in recordings):
        flags = ("--pattern", "{label}_{n}.wav", "--out", _LABELS_CSV)
        return (
            f"{folder} holds recordings without labels; write a CSV with the columns filename and "
            "label, move them to a folder for each label, or read labels from their names: "
            f"{command('labels', 'import', folder, *flags)}"
        )
    return (
        f"{folder} holds recordings in folders; prepare it: "
        f"{command('prepare', folder, '--out', 'DATASET')}, or write a labels CSV of it: "
        f"{import_command}; where it is not clear which folders are labels, they say so"
    )


def _describe_file(path: Path, *, importing: bool) -> str:
    if path.name == _MANIFEST:
        return describe_own_folder(path.parent)
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return (
            f"{path} is a recording; classify it: {command('classify', path)}, or name it in a "
            "labels CSV to train on it"
        )
    import_command = command("labels", "import", path, "--out", _LABELS_CSV)
    by_suffix = {
        ".pt": f"is a checkpoint of a run; export the run: {_export(path.parent)}",
        ".onnx": f"is a model file; use it: {command('classify', 'FOLDER', '--model', path)}",
    }
    if not importing:
        by_suffix[".json"] = (
            f"is no CSV; if it holds labels of another tool, read them: {import_command}"
        )
    return f"{path} {by_suffix[path.suffix]}" if path.suffix in by_suffix else ""


def _export(run: Path) -> str:
    return command("export", run, "--out", "model.onnx")
