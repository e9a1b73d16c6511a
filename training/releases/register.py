"""Register a model as a version: its ONNX file, metrics, model card and data."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earful.data.atomic_write import json_bytes
from earful.data.dataset.dataset import Dataset, DatasetError, open_dataset
from earful.data.errors import EarfulError
from earful.data.labels.clip import Clip
from earful.data.labels.text_file import LabelsError
from earful.models.bundle.bundle import Bundle, open_bundle
from earful.models.registry.records import (
    CARD_FILE,
    CHECKPOINT_FILE,
    DATA_FILE,
    METRICS_FILE,
    MODEL_FILE,
    Version,
)
from earful.models.registry.registry import Registry
from earful.training.config.train_config import TrainingError
from earful.training.evaluation.evaluator import EvaluationError, evaluate_model
from earful.training.export.export import export
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.metrics.calibration import format_threshold
from earful.training.releases.manifest import rows_of_dataset, to_csv
from earful.training.runs.run_dataset import read_run_dataset
from earful.training.trainer.checkpoint import BEST_CHECKPOINT

# Part of the training data hash if there were negatives (``training.loaders.auxiliary_data``).
_NEGATIVES_MARK = "+negatives:"
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class RegisteredVersion:
    """A new version, the dataset that it was registered with, or why it has none."""

    version: Version
    data: Path | None
    reason: str = ""


def register(
    registry: Registry,
    name: str,
    source: Path,
    *,
    data: Path | None = None,
    extra: Path | None = None,
    note: str = "",
    alias: str | None = None,
) -> RegisteredVersion:
    """Put a run's best epoch, or a model file, into the registry.

    ``data`` is the dataset that it was trained on, by default the run's own if it can be used, and
    ``extra`` the extra dataset. A run that is registered with its data can be retrained.

    Raises:
        EarfulError: ``source`` is not a run or model, or was trained on other data.
    """
    found, reason = (data, "") if data is not None else _find_run_data(source)
    try:
        files = _read_files(source, found, extra, note)
    except (DatasetError, LabelsError, TrainingError, EvaluationError) as error:
        if found is None or data is not None or extra is not None:
            raise
        found, reason = None, f"{found}, the dataset of the run, cannot be used: {error}"
        files = _read_files(source, None, None, note)
    return RegisteredVersion(registry.register(name, files, note=note, alias=alias), found, reason)


def _find_run_data(source: Path) -> tuple[Path | None, str]:
    """The dataset that a run was trained on, if it still is there, else None and the reason."""
    if not source.is_dir():
        return None, f"{source} is a model file, which does not name its run and data"
    folder = read_run_dataset(source)
    if folder is None:
        return None, f"the run {source} does not say what dataset it was trained on"
    try:
        open_dataset(folder)
    except EarfulError as error:
        return None, f"the dataset of the run cannot be used: {error}"
    return folder, ""


def _read_files(source: Path, data: Path | None, extra: Path | None, note: str) -> dict[str, bytes]:
    """The content of the files of a version of a run, or of a model file."""
    if data is None and extra is not None:
        raise TrainingError("--extra needs --data, the dataset that it was added to")
    dataset = None if data is None else open_dataset(data)
    auxiliary = AuxiliaryData(extra=None if extra is None else open_dataset(extra))
    rows = _rows(dataset, auxiliary.extra)
    with tempfile.TemporaryDirectory() as folder:
        model, checkpoint = source, None
        if source.is_dir():
            model, checkpoint = Path(folder) / MODEL_FILE, (source / BEST_CHECKPOINT)
            export(source, model)
        bundle = open_bundle(model)
        if dataset is not None:
            _check_data(bundle, dataset, auxiliary)
        metrics = _evaluate_test_rows(model, rows, Path(folder)) or bundle.metadata.metrics
        return version_files(model, metrics, rows, note, checkpoint=checkpoint)


def trained_with_negatives(registry: Registry, name: str, version: Version) -> bool:
    """Whether a version was trained with negatives."""
    bundle = open_bundle(registry.local_copy(name, version, MODEL_FILE))
    return _NEGATIVES_MARK in bundle.metadata.training_data_hash


def version_files(
    model: Path,
    metrics: Mapping[str, Any],
    rows: Sequence[Clip],
    note: str,
    *,
    checkpoint: Path | None = None,
) -> dict[str, bytes]:
    """The content of a version's files, by file name."""
    bundle = open_bundle(model)
    files = {
        MODEL_FILE: model.read_bytes(),
        METRICS_FILE: json_bytes(metrics),
        CARD_FILE: model_card(bundle, metrics, rows, note).encode(),
    }
    if rows:
        files[DATA_FILE] = to_csv(rows)
    if checkpoint is not None:
        files[CHECKPOINT_FILE] = checkpoint.read_bytes()
    return files


def model_card(bundle: Bundle, metrics: Mapping[str, Any], rows: Sequence[Clip], note: str) -> str:
    """A model card (Mitchell et al., arXiv:1810.03993) as Markdown: model, data, metrics."""
    metadata = bundle.metadata
    features = metadata.features
    multi_label_text = "multi-label, " if metadata.score_kind == "sigmoid" else ""
    lines = [
        "# Model card",
        "",
        *([note, ""] if note else []),
        f"- network: `{metadata.architecture['name']}` on {metadata.feature_kind}, "
        f"{bundle.path.stat().st_size / 1e6:.2f} MB",
        *_pretrained_lines(metadata.architecture.get("pretrained")),
        f"- input: {features.clip_seconds:g} s at {features.sample_rate_hz} Hz",
        f"- labels: {', '.join(metadata.labels)}",
        f"- created: {metadata.created}; sha256 {bundle.sha256}",
        f"- scores: {multi_label_text}temperature {metadata.temperature:.3f}, `unknown` below "
        f"{format_threshold(metadata.rejection_threshold)} with `--reject`",
        "",
        "## Data",
        "",
        *_data_lines(rows, metadata.training_data_hash),
        "",
        "## Metrics",
        "",
        *_metric_lines(metrics),
    ]
    return "\n".join(lines) + "\n"


def _pretrained_lines(pretrained: dict[str, str] | None) -> list[str]:
    if pretrained is None:
        return []
    return [f"- pretrained weights: {pretrained['source']}, licence {pretrained['licence']}"]


def _data_lines(rows: Sequence[Clip], data_hash: str) -> list[str]:
    if not rows:
        return [f"Not registered; training data hash {data_hash}."]
    lines = ["| part | clips | speakers |", "|---|---|---|"]
    for part in _SPLITS:
        clips = [row for row in rows if row.split == part]
        speakers = {row.speaker for row in clips} - {""}
        lines.append(f"| {part} | {len(clips)} | {len(speakers) or 'unknown'} |")
    sources = Counter(row.provenance.source for row in rows)
    lines += ["", *(f"- {count} clips from {source}" for source, count in sources.most_common())]
    return lines


def _metric_lines(metrics: Mapping[str, Any]) -> list[str]:
    if "accuracy" not in metrics:
        return ["Not measured on a frozen test set."]
    low, high = (100 * bound for bound in metrics["accuracy_ci95"])
    lines = [
        f"Frozen test set, {metrics['clips']} clips: {100 * metrics['accuracy']:.2f} % correct "
        f"(95 % interval {low:.1f} to {high:.1f}).",
        "",
        "| group | clips | correct |",
        "|---|---|---|",
    ]
    for label, row in metrics["per_label"].items():
        lines.append(f"| label {label} | {row['clips']:.0f} | {100 * row['recall']:.1f} % |")
    for speaker, row in metrics["per_speaker"].items():
        share = 100 * row["accuracy"]
        lines.append(f"| speaker {speaker} | {row['clips']:.0f} | {share:.1f} % |")
    return lines


def _rows(dataset: Dataset | None, extra: Dataset | None) -> list[Clip]:
    rows: list[Clip] = []
    for data, split in ((dataset, None), (extra, "train")):
        if data is not None:
            rows += rows_of_dataset(data, f"dataset {data.folder.name}", split)
    return rows


def _check_data(bundle: Bundle, dataset: Dataset, auxiliary: AuxiliaryData) -> None:
    data_hash = auxiliary.content_hash(dataset)
    trained_on = bundle.metadata.training_data_hash.partition(_NEGATIVES_MARK)[0]
    if trained_on != data_hash:
        raise TrainingError(
            f"the model was trained on other data (hash {trained_on[:12]}) than {dataset.folder} "
            f"(hash {data_hash[:12]}); give its training dataset, and --extra if it had one"
        )


def _evaluate_test_rows(model: Path, rows: Sequence[Clip], folder: Path) -> dict[str, Any]:
    """Metrics of the test rows, with the serving classifier; empty without test rows."""
    test = [row for row in rows if row.split == "test"]
    if not test:
        return {}
    test_csv = folder / DATA_FILE
    test_csv.write_bytes(to_csv(test))
    evaluation = evaluate_model(model, test_csv, split="all")
    if evaluation.failed:
        raise EvaluationError(
            f"{len(evaluation.failed)} clips of the test set cannot be read, the first is "
            f"{evaluation.failed[0]}; restore the files, or prepare the dataset again"
        )
    return evaluation.metrics.to_dict()
