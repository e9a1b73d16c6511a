"""Which embeddings a map shows: what the user named, the shipped model, or one learnt here."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.models.bundle.device import Device
from earful.models.registry.find_model import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainingError
from earful.training.explore.embeddings import (
    Embedding,
    Kind,
    check_model,
    check_run,
    kind_of,
    of_model,
    of_run,
    on_the_spot,
)
from earful.training.runs.progress import TrainingProgress
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint


@dataclass(frozen=True)
class Sources:
    """Where embeddings come from; ``kept`` is the folder of the autoencoder that is trained here.

    ``only`` is the one that is wanted, None for both; ``needs_answers`` is whether there must be a
    classifier.
    """

    kept: Path
    model: Path | None = None
    run: Path | None = None
    only: Kind | None = None
    needs_answers: bool = False


def find_embeddings(
    dataset: Dataset, sources: Sources, seed: int, device: Device, progress: TrainingProgress
) -> tuple[list[Embedding], list[str]]:
    """The embeddings that are wanted, and what to say of those that there are not.

    What the user named is opened and checked before anything is trained.
    """
    given = _given_run(dataset, sources)
    notes: list[str] = []
    found: dict[Kind, Embedding] = {}
    if sources.only != "autoencoder":
        classifier = _classifier(dataset, sources, given, notes)
        if classifier is not None:
            found["classifier"] = classifier
    if sources.needs_answers and not found:
        raise TrainingError(
            "--colour error needs a classifier's answers; "
            + (notes[0] if notes else "leave out --by autoencoder")
        )
    if sources.only != "classifier":
        found["autoencoder"] = (
            of_run(dataset, sources.run)
            if given == "autoencoder" and sources.run is not None
            else on_the_spot(dataset, sources.kept, seed, device, progress)
        )
    if not found:
        raise TrainingError(f"{notes[0]}; or leave out --by classifier")
    return [found[kind] for kind in ("autoencoder", "classifier") if kind in found], notes


def _given_run(dataset: Dataset, sources: Sources) -> Kind | None:
    """Which embedding the run gives that the user named, checked; None without one."""
    if sources.model is not None and sources.only == "autoencoder":
        raise TrainingError(f"--by autoencoder does not show --model {sources.model}; give one")
    if sources.run is None:
        return None
    checkpoint = load_checkpoint(sources.run / BEST_CHECKPOINT)
    check_run(dataset, sources.run, checkpoint)
    kind = kind_of(checkpoint)
    if sources.only not in (None, kind):
        raise TrainingError(
            f"{sources.run} is a run of {checkpoint.config.model}, which --by {sources.only} does "
            f"not show; give --by {kind}"
        )
    if kind == "classifier" and sources.model is not None:
        raise TrainingError(
            f"--model and --run ({sources.run}) are both classifiers; a map shows one of them"
        )
    return kind


def _classifier(
    dataset: Dataset, sources: Sources, given: Kind | None, notes: list[str]
) -> Embedding | None:
    """The classifier's embedding: of what was named, else of the shipped model where it fits."""
    if given == "classifier" and sources.run is not None:
        return _told(of_run(dataset, sources.run), dataset, notes)
    if sources.model is not None:
        return _told(of_model(dataset, sources.model), dataset, notes)
    if _shipped_fits(dataset):
        notes.append(
            "the classifier is the digit model that ships with Earful; --model or --run shows "
            "your own"
        )
        return of_model(dataset, SHIPPED_MODEL)
    notes.append(
        "no classifier is shown: the shipped digit model knows other clips or labels; train one "
        f"with `earful train {dataset.folder} --out RUN` and give it with --run RUN"
    )
    return None


def _told(embedding: Embedding, dataset: Dataset, notes: list[str]) -> Embedding:
    known = embedding.answers.known if embedding.answers else frozenset()
    unknown = [label for label in dataset.labels if label not in known]
    if unknown:
        notes.append(
            f"the model does not know {len(unknown)} of the labels ({', '.join(unknown[:5])}); "
            "it is neither right nor wrong about their clips"
        )
    return embedding


def _shipped_fits(dataset: Dataset) -> bool:
    """Whether the shipped model hears such clips and knows every label of them."""
    classifier = Classifier.open(SHIPPED_MODEL)
    try:
        check_model(dataset, classifier)
    except EarfulError:
        return False
    return set(dataset.labels) <= set(classifier.labels)
