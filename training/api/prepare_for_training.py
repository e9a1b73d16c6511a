"""The dataset that ``train`` is given, or labels, which are prepared beside the run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from earful.data.atomic_write import write_json
from earful.data.dataset.dataset import MANIFEST_FILENAME, DatasetError
from earful.data.datasets.read_labelled import read_labelled_clips
from earful.data.errors import command
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.text.json_input import parse_json
from earful.training.api.prepare import prepare
from earful.training.config.train_config import TrainingError

# In a dataset that was prepared here: what it was prepared from.
SOURCE_FILENAME = "source.json"


def find_dataset(
    source: Path,
    options: CsvOptions,
    out: Path,
    *,
    has_run: bool,
    processes: int,
    on_note: Callable[[str], None],
    progress: bool,
) -> Path:
    """The dataset folder of ``source``: itself, or RUN-dataset, prepared from labels if need be.

    A dataset that was prepared from the same labels and files is used again. ``has_run`` is
    whether ``out`` holds a run to continue, for which they must not have changed.

    Raises:
        LabelsError: the source is neither a dataset nor labels.
        DatasetError: rows or files cannot be used, or another dataset has that name.
        SplitError: the clips cannot be split.
        TrainingError: the labels have changed since the run, or several processes were started.
    """
    if (source / MANIFEST_FILENAME).is_file() or not source.exists():
        return source  # opening it says what is missing
    labelled = read_labelled_clips(source, options)
    if processes > 1:
        raise TrainingError(
            f"several processes need a prepared dataset, and {source} is none; prepare it first: "
            f"{command('prepare', source, '--out', 'DATASET')}"
        )
    dataset = out.parent / f"{out.resolve().name}-dataset"
    record = {"source": str(source.resolve()), "hash": _hash_source(labelled)}
    earlier = _read_record(dataset)
    if earlier == record:
        on_note(f"{dataset}, prepared from {source}, is used again")
        return dataset
    if earlier is not None and has_run:
        raise TrainingError(
            f"{source} or its files have changed since {dataset} was prepared, and a run continues "
            "on the same clips only; train anew with another --out"
        )
    changed = " again, as it has changed" if earlier is not None else ""
    on_note(f"{source} is prepared{changed}: the dataset is {dataset}")
    prepared = prepare(
        source,
        dataset,
        audio_dir=options.audio_dir,
        columns=options.columns,
        label_separator=options.label_separator,
        replace=True,
        progress=progress,
    )
    for note in prepared.notes():
        on_note(f"note: {note}")
    write_json(dataset / SOURCE_FILENAME, record)
    return dataset


def _read_record(dataset: Path) -> dict[str, str] | None:
    """What the dataset was prepared from; None if there is no dataset.

    Raises:
        DatasetError: it was not prepared here, and must not be replaced.
    """
    if not (dataset / MANIFEST_FILENAME).is_file():
        return None
    try:
        return parse_json(dict[str, str], (dataset / SOURCE_FILENAME).read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{dataset} is a dataset that `train` has not prepared; train on it by its name, or "
            "give another --out"
        ) from error


def _hash_source(labelled: LabelledClips) -> str:
    """SHA-256 of the rows, and of the size and time of each file."""
    digest = hashlib.sha256()
    for clip in labelled.clips:
        times = (clip.start_seconds, clip.end_seconds)
        labelling = (str(clip.path.absolute()), clip.label, clip.speaker, clip.fold, clip.split)
        digest.update(json.dumps([*labelling, *times, *_file_state(clip)]).encode())
    return digest.hexdigest()


def _file_state(clip: Clip) -> tuple[int, int]:
    try:
        status = clip.path.stat()
    except OSError:
        return (0, 0)  # preparing it says that it is missing
    return (status.st_size, status.st_mtime_ns)
