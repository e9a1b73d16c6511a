"""The root of all errors that a user can fix.

    EarfulError
    ├── MissingPackageError data.errors                           an extra that is not installed
    ├── UsageError          data.errors                           arguments or flags that do not fit
    ├── LabelsError         data.labels.text_file                 an unusable labels CSV
    ├── AnnotationError     data.annotations.annotation           unusable labels of another tool
    ├── AudioError          data.audio.limits                     an unusable file, with a code
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
    ├── QuantizationError   training.export.quantize_graph        INT8 impossible, or less accurate
    ├── TfliteError         training.export.tflite.tflite_error   no TFLite, or other scores
    ├── WebRuntimeError     training.export.web_runtime           not the package of the browser
    ├── EvaluationError     training.evaluation.evaluator         nothing to evaluate on
    ├── EventsError         training.evaluation.labelled_events   unusable labelled events
    ├── FalseAcceptError    training.evaluation.false_accepts     unusable negatives
    ├── NoiseError          training.evaluation.noise_robustness  unusable noise for a noise test
    ├── SourceError         service.api.model                     not a path, bytes or an array
    ├── InferenceError      service.classifier                    a model that fails on its input
    ├── BatchError          service.batch.errors                  a batch cannot continue
    ├── RetrainFolderError  service.core.retrain_lock             another retraining is running
    ├── MlflowError         training.releases.mlflow_export       no answer from the MLflow server
    ├── FeedbackError       service.feedback.errors               an unusable feedback database
    ├── JobsError           service.jobs.records                  an unusable folder of jobs
    └── ServerError         service.server.graceful_server        the server cannot start

Each message says what was found, what is accepted and what to do. The command line prints it and
exits with 2; the HTTP service maps the code of ``AudioError`` to a status.
"""

import difflib
import errno
import math
import numbers
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

_TRAINING_PACKAGES = (
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
)
# What needs a package that is not installed, and the extra that installs it.
_NEEDS = {
    **{package: (f"this needs {package}", "train") for package in _TRAINING_PACKAGES},
    "mlflow": ("this needs mlflow-skinny", "mlflow"),
    "optuna": ("a search needs optuna", "tune"),
    "psycopg": ("PostgreSQL needs psycopg", "postgres"),
}


class EarfulError(Exception):
    """A problem with the user's input; the message is written for the user."""


class UsageError(EarfulError, ValueError):
    """An argument or flag of a wrong type or value, or several that exclude each other."""


class MissingPackageError(EarfulError, ImportError):
    """A package of an extra that is not installed; the message names the install command."""


def missing_package_error(error: ModuleNotFoundError) -> MissingPackageError | None:
    """The error for a user who lacks the extra of a package; None for a package of no extra."""
    package = (error.name or "").partition(".")[0]
    if package not in _NEEDS:
        return None
    need, extra = _NEEDS[package]
    return MissingPackageError(f"{need}; install it with: uv sync --inexact --extra {extra}")


FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OS_ADVICE = {
    **dict.fromkeys(FULL_DISK, "free space there, or write to another disk"),
    errno.EROFS: "write to another disk",
    errno.ENAMETOOLONG: "use shorter names, or fewer folders within each other",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENOMEM: "free memory, or raise its limit",
}


def describe_os_error(error: OSError) -> str:
    """The reason of a failed call of the system and, where that helps, what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    advice = _OS_ADVICE.get(error.errno or 0)
    return f"{reason}; {advice}" if advice else reason


# What Python raises for a fault in a program. For a place that does not answer, each library has
# exceptions of its own, without a common class.
PROGRAM_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    TypeError,
)
# What people write for a choice that is spelled quite differently.
_SYNONYMS = {"gpu": "cuda", "lr": "learning_rate"}


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`` (did you mean 'cnn'?)`` for the choice closest to ``name``; empty if none is close.

    Case is ignored, and a hyphen is an underscore.
    """
    nearest = _nearest(name, choices)
    return f" (did you mean {nearest!r}?)" if nearest else ""


def _nearest(name: str, choices: Iterable[str]) -> str:
    by_key = {_key(choice): choice for choice in choices}
    key = _key(name)
    if _SYNONYMS.get(key) in by_key:
        return by_key[_SYNONYMS[key]]
    [nearest, *_] = [*difflib.get_close_matches(key, by_key, n=1), ""]
    return by_key[nearest] if nearest else ""


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


def did_you_mean_path(path: Path) -> str:
    """``did_you_mean`` for the first missing part of ``path``, among its siblings."""
    missing = next((p for p in (*reversed(path.parents), path) if not os.path.lexists(p)), None)
    if missing is None or not missing.name:
        return ""
    try:
        names = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        return ""
    nearest = _nearest(missing.name, names)
    if not nearest:
        return ""
    meant = missing.parent / nearest / path.relative_to(missing)
    return f" (did you mean {str(meant)!r}?)" if os.path.lexists(meant) else ""


def command(*words: object) -> str:
    """A command for a message, in backquotes; its words are quoted for a shell."""
    return f"`{shlex.join(('earful', *map(str, words)))}`"


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        UsageError: it is none; the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise UsageError(f"{name} is {' or '.join(map(repr, choices))}, found {value!r}{hint}")


def require_number(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, *, whole: bool = False
) -> None:
    """Refuse a value that is no finite number, not whole if ``whole``, or out of [low, high].

    Raises:
        UsageError: it is none; the message has the range.
    """
    kinds = numbers.Integral if whole else numbers.Real
    if not (
        not isinstance(value, bool)
        and isinstance(value, kinds)
        and low <= float(value) <= high
        and math.isfinite(value)
    ):
        kind = "a whole number" if whole else "a number"
        bounds = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
        raise UsageError(f"{name} is {kind}{bounds}, found {value!r}")


def require_path(name: str, value: object) -> Path:
    """A text or path-like value as a path.

    Raises:
        UsageError: it is none, is empty or has a NUL.
    """
    text = os.fsdecode(value) if isinstance(value, str | os.PathLike) else ""
    if not text or "\0" in text:
        raise UsageError(f"{name} is a path, found {value!r}")
    return Path(text)


def optional_path(name: str, value: object) -> Path | None:
    """``require_path`` for an argument that may be None."""
    return None if value is None else require_path(name, value)
