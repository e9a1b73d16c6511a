"""The dataset of a run, kept beside its checkpoints: metrics.json comes only at the end."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import write_json
from earful.data.dataset.dataset import Dataset
from earful.data.text.json_input import STRICT, parse_json
from earful.training.trainer.checkpoint import METRICS_FILENAME

RUN_DATASET_FILENAME = "trained_on.json"


@dataclass(frozen=True)
class _RecordedDataset:
    """What a file of the run says of its dataset."""

    __pydantic_config__ = STRICT | {"extra": "ignore"}

    dataset: str


def write_run_dataset(run: Path, dataset: Dataset) -> None:
    """Record the folder of the dataset that a run is trained on."""
    write_json(run / RUN_DATASET_FILENAME, {"dataset": str(dataset.folder.resolve())})


def read_run_dataset(run: Path) -> Path | None:
    """The dataset folder of a run, relative below the working folder; None if it is not known."""
    folder = _read(run / RUN_DATASET_FILENAME) or _read(run / METRICS_FILENAME)
    if folder is None:
        return None
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _read(path: Path) -> Path | None:
    try:
        return Path(parse_json(_RecordedDataset, path.read_bytes()).dataset)
    except (OSError, ValueError):
        return None


def resume_words(run: Path) -> tuple[object, ...]:
    """The command that continues a run, by its words after ``earful``."""
    return ("train", read_run_dataset(run) or "DATASET", "--out", run, "--resume")
