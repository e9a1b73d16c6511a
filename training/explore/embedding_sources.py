"""Choose the embeddings of a map: one without labels and, where there is one, a classifier's."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError, command
from earful.data.features.config import FeatureError
from earful.data.features.encoder_config import encoder_features
from earful.models.bundle.device import TrainingDevice
from earful.models.registry.shipped import SHIPPED_MODEL
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
)
from earful.training.explore.unlabelled import OnProgress, embed_with_encoder, train_autoencoder
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint


@dataclass(frozen=True)
class EmbeddingSources:
    """Where embeddings come from.

    autoencoder_folder  run folder of the autoencoder trained for the map
    only                restrict the map to this embedding; None: the encoder's (an autoencoder's
                        where it cannot be used) and a classifier's
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
    device: TrainingDevice,
    on_progress: OnProgress,
) -> tuple[list[Embedding], list[str]]:
    """The embeddings to show, and notes for the user.

    A given model or run is checked before anything is trained.

    Raises:
        FeatureError: ``only`` is the encoder, and the sample rate is too low for it.
        TrainingError: the run does not fit, the options contradict, or there is no embedding.
        ModelError: the model does not fit.
    """
    run_kind = _check_run(dataset, sources)
    notes: list[str] = []
    classifier: Embedding | None = None
    if sources.only in (None, "classifier"):
        classifier = _classifier_embedding(dataset, sources, run_kind, notes)
    if sources.needs_predictions and classifier is None:
        raise TrainingError(
            "--color-by error needs the predictions of a classifier; "
            + (notes[0] if notes else f"remove --embedding {sources.only}")
        )
    if sources.only == "classifier" and classifier is None:
        raise TrainingError(f"{notes[0]}; or remove --embedding classifier")
    embeddings: list[Embedding] = []
    match _unsupervised_kind(dataset, sources, run_kind, notes):
        case "encoder":
            embeddings.append(embed_with_encoder(dataset, on_progress))
        case "autoencoder" if run_kind == "autoencoder" and sources.run is not None:
            embeddings.append(embed_with_run(dataset, sources.run))
        case "autoencoder":
            folder = sources.autoencoder_folder
            embeddings.append(train_autoencoder(dataset, folder, seed, device, on_progress))
    return [*embeddings, *filter(None, [classifier])], notes


def _unsupervised_kind(
    dataset: Dataset, sources: EmbeddingSources, run_kind: EmbeddingKind | None, notes: list[str]
) -> EmbeddingKind | None:
    """The embedding without labels: encoder, autoencoder, or None where only a classifier is shown.

    A given run of an autoencoder goes before the encoder.
    """
    if sources.only is not None:
        return None if sources.only == "classifier" else sources.only
    if run_kind == "autoencoder":
        return "autoencoder"
    try:
        encoder_features(dataset.features)
    except FeatureError as error:
        notes.append(f"an autoencoder is shown instead of the speech encoder: {error}")
        return "autoencoder"
    return "encoder"


def _check_run(dataset: Dataset, sources: EmbeddingSources) -> EmbeddingKind | None:
    """Check the given run and return its kind of embedding; None without a run."""
    if sources.model is not None and sources.only in ("encoder", "autoencoder"):
        raise TrainingError(
            f"--embedding {sources.only} excludes --model {sources.model}; remove one of them"
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
