"""Choose the embeddings of a map: a given model or run, the shipped model, an autoencoder."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError, command
from earful.models.bundle.device import Device
from earful.models.registry.find_model import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainingError
from earful.training.explore.embeddings import (
    Embedding,
    EmbeddingKind,
    check_model,
    check_run,
    embed_with_model,
    embed_with_run,
    embedding_kind,
    train_autoencoder,
)
from earful.training.runs.progress import TrainingProgress
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint


@dataclass(frozen=True)
class EmbeddingSources:
    """Where embeddings come from.

    autoencoder_folder  run folder of the autoencoder trained for the map
    only                restrict the map to this embedding; None: both
    needs_predictions   whether a classifier is required
    """

    autoencoder_folder: Path
    model: Path | None = None
    run: Path | None = None
    only: EmbeddingKind | None = None
    needs_predictions: bool = False


def find_embeddings(
    dataset: Dataset,
    sources: EmbeddingSources,
    seed: int,
    device: Device,
    progress: TrainingProgress,
) -> tuple[list[Embedding], list[str]]:
    """The embeddings to show, and notes for the user.

    A given model or run is checked before the autoencoder is trained.

    Raises:
        TrainingError: the run does not fit, the options contradict, or there is no embedding.
        ModelError: the model does not fit.
    """
    run_kind = _check_run(dataset, sources)
    notes: list[str] = []
    embeddings: dict[EmbeddingKind, Embedding] = {}
    if sources.only != "autoencoder":
        classifier = _classifier_embedding(dataset, sources, run_kind, notes)
        if classifier is not None:
            embeddings["classifier"] = classifier
    if sources.needs_predictions and not embeddings:
        raise TrainingError(
            "--color-by error needs the predictions of a classifier; "
            + (notes[0] if notes else "remove --embedding autoencoder")
        )
    if sources.only != "classifier":
        embeddings["autoencoder"] = (
            embed_with_run(dataset, sources.run)
            if run_kind == "autoencoder" and sources.run is not None
            else train_autoencoder(dataset, sources.autoencoder_folder, seed, device, progress)
        )
    if not embeddings:
        raise TrainingError(f"{notes[0]}; or remove --embedding classifier")
    return [embeddings[kind] for kind in ("autoencoder", "classifier") if kind in embeddings], notes


def _check_run(dataset: Dataset, sources: EmbeddingSources) -> EmbeddingKind | None:
    """Check the given run and return its kind of embedding; None without a run."""
    if sources.model is not None and sources.only == "autoencoder":
        raise TrainingError(
            f"--embedding autoencoder excludes --model {sources.model}; remove one of them"
        )
    if sources.run is None:
        return None
    checkpoint = load_checkpoint(sources.run / BEST_CHECKPOINT)
    check_run(dataset, sources.run, checkpoint)
    kind = embedding_kind(checkpoint)
    if sources.only not in (None, kind):
        raise TrainingError(
            f"{sources.run} is a run of {checkpoint.config.model}, which gives no "
            f"{sources.only} embedding; give --embedding {kind}"
        )
    if kind == "classifier" and sources.model is not None:
        raise TrainingError(
            f"--model and --run ({sources.run}) are both classifiers; give one of them"
        )
    return kind


def _classifier_embedding(
    dataset: Dataset, sources: EmbeddingSources, run_kind: EmbeddingKind | None, notes: list[str]
) -> Embedding | None:
    """The embedding of the given run or model, else of the shipped model if it fits the data."""
    if run_kind == "classifier" and sources.run is not None:
        return _note_unknown_labels(embed_with_run(dataset, sources.run), dataset, notes)
    if sources.model is not None:
        return _note_unknown_labels(embed_with_model(dataset, sources.model), dataset, notes)
    if _shipped_fits(dataset):
        notes.append(
            "the classifier is the shipped digit model; give your own with --model or --run"
        )
        return embed_with_model(dataset, SHIPPED_MODEL)
    notes.append(
        "no classifier is shown: the shipped digit model has a different input or other labels; "
        f"train one with {command('train', dataset.folder, '--out', 'RUN')} and give it with "
        "--run RUN"
    )
    return None


def _note_unknown_labels(embedding: Embedding, dataset: Dataset, notes: list[str]) -> Embedding:
    known_labels = embedding.predictions.known_labels if embedding.predictions else frozenset()
    unknown = [label for label in dataset.labels if label not in known_labels]
    if unknown:
        notes.append(
            f"the model does not have {len(unknown)} of the labels ({', '.join(unknown[:5])}); "
            "its predictions for their clips are neither correct nor incorrect"
        )
    return embedding


def _shipped_fits(dataset: Dataset) -> bool:
    """Whether the shipped model has the input format and all labels of the dataset."""
    classifier = Classifier.open(SHIPPED_MODEL)
    try:
        check_model(dataset, classifier)
    except EarfulError:
        return False
    return set(dataset.labels) <= set(classifier.labels)
