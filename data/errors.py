"""The root of every error that a user can mend.

    EarfulError
    ├── LabelsError      data.labels.labels_csv        the CSV: all bad rows at once
    ├── AnnotationError  data.annotations.annotation  labels of another tool that cannot be used
    ├── AudioError       data.audio.decode         one file: a stable code and a sentence
    ├── FeatureError     data.features.config      a FeatureConfig that cannot work
    ├── SplitError       data.labels.splits        a split that cannot be drawn
    ├── DatasetError     data.dataset.dataset       a dataset folder that is missing, damaged or refused
    ├── ClusterError     data.dataset.ray_prepare       Ray is missing, or no cluster answers
    ├── SynthesisError   data.synthesis.espeak        a word or a voice that cannot be spoken
    ├── OutputError      data.atomic_write       a place to write to that is taken by something else
    ├── ModelError       models.bundle.metadata    a model file that is missing or damaged
    ├── RegistryError    models.registry.errors  a registry that lacks something or is damaged
    ├── TrainingError    training.config.train_config    a run that cannot start or go on
    ├── TuneError        training.tuning.space  a search that cannot start or go on
    ├── RunReportError   training.reports.run_report.read_run  a run or dataset that cannot be shown
    ├── ExportError      training.export.export    a model that would not answer as it was trained
    ├── EvaluationError  training.evaluation.evaluator  nothing to evaluate on
    ├── NoiseError       training.evaluation.noise_robustness  noise that cannot be read or made
    ├── InferenceError   service.classifier a model whose graph fails on its input
    ├── BatchError       service.batch.errors  a batch that cannot start or go on
    ├── WorkError        service.core.retrain_lock  another retraining is at work
    ├── MlflowError      training.releases.mlflow_export  an MLflow server that does not answer
    ├── FeedbackError    service.feedback.errors  a database of feedback that cannot be used
    └── ServerError      service.server.server     a server that cannot start

Each message says what was found, what is accepted and what to do. The command line prints it and
exits with 2; the HTTP service translates ``AudioError`` by its code.
"""


class EarfulError(Exception):
    """A problem with what the user gave; the message is written for that user."""
