"""The settings that networks and optimizers have instead of the defaults of ``TrainConfig``."""

from typing import Any

_ROBUST = {
    "features": "log_mel",
    "epochs": 40,
    "patience": 40,
    "learning_rate": 2e-3,
    "augment": True,
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "weight_decay": 0.02,
    "label_smoothing": 0.05,
    "ema_decay": 0.998,
    "grad_clip": 5.0,
    "noise_only": 0.02,
}
_FINETUNED = {
    **_ROBUST,
    "features": "encoder",
    "epochs": 14,
    "patience": 14,
    "learning_rate": 4e-3,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
}
_FITTED = {"epochs": 1, "patience": 1}
# Epochs: when the network stops
# improving on three thousand clips; within five minutes on two cores for the classic networks.
NETWORK_DEFAULTS: dict[str, dict[str, Any]] = {
    "crnn": {"features": "log_mel", "epochs": 30},
    "bcresnet": _ROBUST,
    "tcresnet": _ROBUST,
    "tcresnet-causal": _ROBUST,
    "encoder": {**_FITTED, "features": "encoder"},
    "encoder-finetuned": _FINETUNED,
    "convrnn": {"features": "log_mel", "epochs": 30},
    "mlp": {"epochs": 60},
    "majority": _FITTED,
    "logistic": _FITTED,
    "random-forest": _FITTED,
    "svm": _FITTED,
    "gmm-hmm": _FITTED,
    "autoencoder": {
        "features": "log_mel",
        "epochs": 20,
        "patience": 20,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "schedule": "one-cycle",
    },
}
# For optimizers whose step size is not comparable to Adam's; the others use the network's default.
DEFAULT_LEARNING_RATES: dict[str, float] = {
    "sgd": 0.05,
    "momentum": 0.01,
    "nesterov": 0.01,
    "adagrad": 0.01,
    "adadelta": 1.0,
    "lbfgs": 1.0,
}
