"""Whether a version can be retrained."""

from earful.data.errors import command
from earful.models.bundle.bundle import open_bundle
from earful.models.registry.catalogue import RegistryReader
from earful.models.registry.records import CHECKPOINT_FILE, DATA_FILE, MODEL_FILE, Version
from earful.training.releases.manifest import from_csv


def retraining_obstacle(registry: RegistryReader, name: str, version: Version) -> str:
    """Why a version cannot be retrained, and what to do; empty if it can.

    Raises:
        RegistryError: the version is damaged.
    """
    again = command("models", "register", name, "RUN", "--data", "DATASET", "--promote")
    if DATA_FILE not in version.files:
        return f"it has no data with it, so it cannot be retrained; register its run with {again}"
    source_name = f"version {version.number} of {name}"
    rows = from_csv(registry.read(name, version, DATA_FILE), source_name)
    metadata = open_bundle(registry.local_copy(name, version, MODEL_FILE)).metadata
    if metadata.score_kind == "sigmoid":
        return "it predicts several labels per clip, so it cannot be retrained; train a new run"
    if metadata.quantization is not None:
        return f"it is INT8, and a retraining gives float32; register its run with {again}"
    if not any(row.split == "test" for row in rows):
        return (
            "its data has no test clips to compare models on, so it cannot be retrained; prepare "
            "it with a test split, and train a new run"
        )
    if CHECKPOINT_FILE not in version.files:
        return (
            "it has no run with it, so it can be retrained with --from-scratch only; register "
            f"its run with {again}"
        )
    return ""


def retraining_state(version: Version) -> str:
    """How a version can be retrained, in a word or two for a table."""
    if DATA_FILE not in version.files:
        return "no: no data"
    return "yes" if CHECKPOINT_FILE in version.files else "from scratch"
