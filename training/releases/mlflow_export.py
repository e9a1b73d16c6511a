"""Export of a model's versions from the registry to an MLflow server.

Name, version and the aliases ``champion`` and ``challenger`` mean the same there. A version that
the server already has (same number and sha256 of the model) is not sent again.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from earful.data.errors import EarfulError
from earful.models.registry.records import MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.training.releases.version_metrics import VersionMetrics, read_version_metrics

# Without this, set before the import, MLflow sends usage telemetry. No other module imports it.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

_EXPERIMENT = "earful"
_VERSION_TAG, _SHA256_TAG = "earful.version", "earful.sha256"


class MlflowError(EarfulError):
    """The MLflow server cannot be reached, or refuses a request."""


@dataclass(frozen=True)
class MlflowExportResult:
    """Versions sent now and those already there (our number -> the server's), and aliases set."""

    sent: dict[int, str]
    known: dict[int, str]
    aliases: dict[str, str]


def export_model(registry: Registry, name: str, server: str) -> MlflowExportResult:
    """Send every version of a model that the server lacks, then its aliases.

    Raises:
        RegistryError: no such model, or a damaged one.
        MlflowError: the server cannot be reached, or refuses a request.
    """
    versions, aliases = registry.versions(name), registry.aliases(name)
    client = MlflowClient(tracking_uri=server, registry_uri=server)
    try:
        experiment = _get_or_create_experiment(client)
        model_hashes = {version.number: version.files[MODEL_FILE] for version in versions}
        known = _existing_versions(client, name, model_hashes)
        sent: dict[int, str] = {}
        for version in versions:
            if version.number not in known:
                sent[version.number] = _upload_version(client, registry, name, version, experiment)
        numbers = {**known, **sent}
        current_aliases = {alias: numbers[n] for alias, n in aliases.aliases.items()}
        for alias, number in current_aliases.items():
            client.set_registered_model_alias(name, alias, number)
        _delete_stale_aliases(client, name, set(current_aliases))
    except (MlflowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "Max retries" in reason or isinstance(error, OSError):
            raise MlflowError(
                f"no MLflow server answers at {server}; start it, or give another URL"
            ) from error
        raise MlflowError(f"the MLflow server {server} refuses: {reason[:300]}") from error
    return MlflowExportResult(sent=sent, known=known, aliases=current_aliases)


def _get_or_create_experiment(client: MlflowClient) -> str:
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    return experiment.experiment_id if experiment else client.create_experiment(_EXPERIMENT)


def _existing_versions(
    client: MlflowClient, name: str, model_hashes: dict[int, str]
) -> dict[int, str]:
    """The server's versions of this registry, by our number; creates the model if it is missing.

    Versions match by number and sha256 (``model_hashes``), since another registry may have sent a
    version of the same number.
    """
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
        return {}
    existing: dict[int, str] = {}
    for version in client.search_model_versions(f"name = '{name}'"):
        number = version.tags.get(_VERSION_TAG, "")
        if number.isdecimal() and version.tags.get(_SHA256_TAG) == model_hashes.get(int(number)):
            existing[int(number)] = version.version
    return existing


def _upload_version(
    client: MlflowClient, registry: Registry, name: str, version: Version, experiment: str
) -> str:
    tags = {
        _VERSION_TAG: str(version.number),
        _SHA256_TAG: version.files[MODEL_FILE],
        "earful.parent": str(version.parent or ""),
        "earful.request_hash": version.request_hash,
    }
    run = client.create_run(experiment, run_name=f"{name}@{version.number}", tags=tags)
    run_id = run.info.run_id
    for key, value in _logged_metrics(read_version_metrics(registry, name, version)).items():
        client.log_metric(run_id, key, value)
    with tempfile.TemporaryDirectory() as folder:
        for file in version.files:
            (Path(folder) / file).write_bytes(registry.read(name, version, file))
        client.log_artifacts(run_id, folder, "earful")
    client.set_terminated(run_id)
    source = f"{run.info.artifact_uri}/earful"
    model_version = client.create_model_version(
        name, source=source, run_id=run_id, tags=tags, description=version.note
    )
    return str(model_version.version)


def _logged_metrics(metrics: VersionMetrics) -> dict[str, float]:
    figures = {key: getattr(metrics, key) for key in ("accuracy", "macro_f1", "clips")}
    return {key: float(figure) for key, figure in figures.items() if figure is not None}


def _delete_stale_aliases(client: MlflowClient, name: str, kept: set[str]) -> None:
    """Delete the aliases ``champion`` and ``challenger`` unless they are in ``kept``."""
    for alias in client.get_registered_model(name).aliases:
        if alias in {"champion", "challenger"} - kept:
            client.delete_registered_model_alias(name, alias)
