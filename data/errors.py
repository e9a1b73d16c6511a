"""The root of all errors that a user can fix.

    EarfulError
    ├── MissingPackageError data.errors                           an extra that is not installed
    ├── LabelsError         data.labels.labels_csv                an unusable labels CSV
    ├── AnnotationError     data.annotations.annotation           unusable labels of another tool
    ├── AudioError          data.audio.decode                     an unusable file, with a code
    ├── FeatureError        data.features.config                  an inconsistent FeatureConfig
    ├── SplitError          data.labels.splits                    no split can be drawn
    ├── DatasetError        data.dataset.dataset                  a missing or damaged dataset
    ├── ClusterError        data.dataset.ray_prepare              Ray or the cluster is missing
    ├── SynthesisError      data.synthesis.espeak                 an unspeakable word or voice
    ├── OutputError         data.atomic_write                     an output path that is taken
    ├── ModelError          models.bundle.metadata                a missing or damaged model file
    ├── RegistryError       models.registry.errors                a damaged registry
    ├── TrainingError       training.config.train_config          training cannot continue
    ├── TuneError           training.tuning.space                 a search cannot continue
    ├── RunReportError      training.reports.run_report.read_run  a run without a report
    ├── ExportError         training.export.export                an export that differs
    ├── EvaluationError     training.evaluation.evaluator         nothing to evaluate on
    ├── FalseAcceptError    training.evaluation.false_accepts     unusable negatives
    ├── NoiseError          training.evaluation.noise_robustness  unusable noise for a noise test
    ├── SourceError         service.api.model                     not a path, bytes or an array
    ├── InferenceError      service.classifier                    a model that fails on its input
    ├── BatchError          service.batch.errors                  a batch cannot continue
    ├── RetrainFolderError  service.core.retrain_lock             another retraining is running
    ├── MlflowError         training.releases.mlflow_export       no answer from the MLflow server
    ├── FeedbackError       service.feedback.errors               an unusable feedback database
    └── ServerError         service.server.server                 the server cannot start

Each message says what was found, what is accepted and what to do. The command line prints it and
exits with 2; the HTTP service maps the code of ``AudioError`` to a status.
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

# What the extra ``train`` installs.
_TRAINING_PACKAGES = frozenset(
    {
        "hmmlearn",
        "jinja2",
        "librosa",
        "matplotlib",
        "onnx",
        "onnxscript",
        "pandas",
        "scipy",
        "sklearn",
        "tensorboard",
        "torch",
        "torchaudio",
    }
)


class EarfulError(Exception):
    """A problem with the user's input; the message is written for the user."""


class MissingPackageError(EarfulError, ImportError):
    """A package of an extra that is not installed; the message names the install command."""


def missing_package_error(error: ModuleNotFoundError) -> MissingPackageError | None:
    """The error for a user who has not installed the extra ``train``; None for other packages."""
    package = (error.name or "").partition(".")[0]
    if package not in _TRAINING_PACKAGES:
        return None
    return MissingPackageError(
        f"this needs {package}; install it with: uv sync --inexact --extra train"
    )


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`` (did you mean 'cnn'?)`` for the choice closest to ``name``; empty if none is close."""
    [nearest, *_] = [*difflib.get_close_matches(name, choices, n=1), ""]
    return f" (did you mean {nearest!r}?)" if nearest else ""


def did_you_mean_path(path: Path) -> str:
    """``did_you_mean`` for the first missing part of ``path``, among its siblings."""
    missing = next((p for p in (*reversed(path.parents), path) if not os.path.lexists(p)), None)
    if missing is None or not missing.name:
        return ""
    try:
        names = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        return ""
    [nearest, *_] = [*difflib.get_close_matches(missing.name, names, n=1), ""]
    if not nearest:
        return ""
    meant = missing.parent / nearest / path.relative_to(missing)
    return f" (did you mean {str(meant)!r}?)" if os.path.lexists(meant) else ""
