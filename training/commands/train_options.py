"""The flags of ``earful train`` that set a setting or an option of the network.

A flag that is not given is the network's own choice (``training.config.train_config``).
"""

from typing import Annotated, Any, Literal

import typer


def _option(panel: str, help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel)


_TRAINING, _LOSS, _DATA, _NETWORK, _HARDWARE = (
    "Optimisation",
    "Loss",
    "Training clips",
    "Network",
    "Hardware",
)
_Optimizer = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lbfgs"
]
_Schedule = Literal["constant", "step", "cosine", "one-cycle", "plateau"]

FeaturesOption = Annotated[
    Literal["mfcc", "log_mel"] | None,
    typer.Option(help="Input of the network. (default: what suits it)"),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        help="Maximal number of epochs. (default: cnn 150, mlp 60, crnn and convrnn 30, others 40)"
    ),
]
BatchSizeOption = Annotated[
    int | None, typer.Option(help="Clips per step. (default: 64; autoencoder 32)")
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        help="Stop after this many epochs without a lower validation loss. (default: cnn 20)"
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(help="Seed of weights, order, augmentation and dropout. (default: 42)"),
]
OptimizerOption = Annotated[
    _Optimizer | None,
    _option(_TRAINING, "Optimizer. (default: adam; bcresnet and tcresnet adamw)"),
]
LearningRateOption = Annotated[
    float | None,
    _option(_TRAINING, "Peak learning rate; lr-find suggests one. (default: cnn 0.001)"),
]
MomentumOption = Annotated[
    float | None, _option(_TRAINING, "Momentum of momentum and nesterov. (default: 0.9)")
]
ScheduleOption = Annotated[
    _Schedule | None,
    _option(_TRAINING, "Learning rate schedule. (default: constant; bcresnet, tcresnet one-cycle)"),
]
ScheduleEpochsOption = Annotated[
    int | None,
    _option(
        _TRAINING,
        "step: epochs between drops; plateau: epochs without a lower validation loss. (default: "
        "10)",
    ),
]
ScheduleFactorOption = Annotated[
    float | None, _option(_TRAINING, "Factor of the learning rate at a drop. (default: 0.5)")
]
L1Option = Annotated[
    float | None, _option(_TRAINING, "L1 regularisation of the weights. (default: 0)", "--l1")
]
WeightDecayOption = Annotated[
    float | None,
    _option(
        _TRAINING,
        "L2 regularisation of the weights; with adamw decoupled. (default: 0)",
        "--weight-decay",
        "--l2",
    ),
]
GradClipOption = Annotated[
    float | None, _option(_TRAINING, "Clip gradients to this norm. (default: no clipping)")
]
EmaDecayOption = Annotated[
    float | None,
    _option(
        _TRAINING,
        "Decay per step of the moving average of the weights that is exported. (default: 0, none)",
    ),
]
LossOption = Annotated[
    Literal["cross-entropy", "focal", "bce"] | None,
    _option(
        _LOSS,
        "Loss; bce learns each label by itself. (default: cross-entropy; bce for multi-label "
        "clips)",
    ),
]
FocalGammaOption = Annotated[
    float | None,
    _option(_LOSS, "How much focal loss down-weights easy examples. (default: 2)"),
]
LabelSmoothingOption = Annotated[
    float | None, _option(_LOSS, "Share of the target spread over all labels. (default: 0)")
]
BalanceOption = Annotated[
    Literal["none", "weights", "sampling"] | None,
    _option(
        _LOSS, "Weight rare labels more in the loss, or sample them more often. (default: none)"
    ),
]
AugmentOption = Annotated[
    bool | None,
    _option(
        _DATA,
        "Augment training clips, new in each epoch. (default: only bcresnet and tcresnet)",
        "--augment/--no-augment",
    ),
]
AugmentStrengthOption = Annotated[
    Literal["mild", "default", "strong"] | None,
    _option(
        _DATA,
        "How augmented clips differ: mild (no codec, clipping, cut edges or change of tempo), "
        "default, strong (louder background). (default: default)",
    ),
]
MixupOption = Annotated[
    float | None, _option(_DATA, "Probability that a clip is mixed with another. (default: 0)")
]
NoiseOnlyOption = Annotated[
    float | None,
    _option(
        _DATA,
        "With --negatives: share of clips that are background alone. (default: bcresnet and "
        "tcresnet 0.02)",
    ),
]
OversampleOption = Annotated[
    int | None,
    _option(_DATA, "Times that an epoch reads the clips of DATASET; extra ones once. (default: 1)"),
]
TeacherOption = Annotated[
    str | None,
    _option(
        _DATA, "A model (file or registry name) whose answers the network learns.", "--teacher"
    ),
]
EncoderOption = Annotated[
    str | None,
    _option(
        _NETWORK,
        "Pretrained encoder under a linear head: speech, or an ONNX file (waveform in, frames of "
        "features out). Implies --model encoder.",
    ),
]
UnfreezeOption = Annotated[
    bool,
    _option(
        _NETWORK,
        "Train the speech encoder further, on augmented clips: --model encoder-finetuned.",
        "--unfreeze",
    ),
]
DropoutOption = Annotated[float | None, _option(_NETWORK, "Dropout probability.")]
NormOption = Annotated[
    str | None,
    _option(_NETWORK, "none, batch, layer, instance or group. (default: cnn none, crnn batch)"),
]
ActivationOption = Annotated[
    str | None,
    _option(_NETWORK, "relu, leaky-relu, prelu, elu, sigmoid or tanh. (default: relu)"),
]
RecurrentOption = Annotated[
    str | None,
    _option(_NETWORK, "gru or lstm. (default: crnn gru, convrnn lstm)"),
]
LayersOption = Annotated[
    int | None,
    _option(_NETWORK, "Recurrent layers; hidden layers of mlp. (default: 1)"),
]
HiddenOption = Annotated[
    int | None, _option(_NETWORK, "Units per hidden layer of crnn, convrnn and mlp.")
]
BidirectionalOption = Annotated[
    bool | None,
    _option(
        _NETWORK,
        "Whether recurrent layers read both directions.",
        "--bidirectional/--unidirectional",
    ),
]
WidthOption = Annotated[
    float | None, _option(_NETWORK, "Multiplier of the channels of bcresnet. (default: 1)")
]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    _option(_HARDWARE, "Precision of matrix products and convolutions. (default: float32)"),
]
CompileOption = Annotated[
    bool | None,
    _option(
        _HARDWARE,
        "Compile the network: a minute before the first step. (default: no)",
        "--compile/--no-compile",
    ),
]
ShardsOption = Annotated[
    int | None,
    _option(
        _HARDWARE,
        "Parts of a batch, computed one after the other or by one process each. (default: one "
        "per process)",
    ),
]
CheckpointMirrorOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Second place for checkpoints, to resume on another machine.",
        rich_help_panel=_HARDWARE,
    ),
]
