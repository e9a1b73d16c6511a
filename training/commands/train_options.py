"""The flags of ``earful train`` that are no setting of ``TrainConfig``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from earful.training.config.setting import CLIPS, HARDWARE, NETWORK, setting


@dataclass(frozen=True)
class NetworkFlags:
    """The options of networks that have a flag; ``--set`` gives all that a network has."""

    dropout: float | None = setting(None, "Dropout probability.", panel=NETWORK, shown="")
    norm: str | None = setting(
        None,
        "none, batch, layer, instance or group.",
        panel=NETWORK,
        shown="cnn none, crnn batch",
    )
    activation: str | None = setting(
        None, "relu, leaky-relu, prelu, elu, sigmoid or tanh.", panel=NETWORK, shown="relu"
    )
    recurrent: str | None = setting(
        None, "gru or lstm.", panel=NETWORK, shown="crnn gru, convrnn lstm"
    )
    layers: int | None = setting(
        None, "Recurrent layers; hidden layers of mlp.", panel=NETWORK, shown="1"
    )
    hidden: int | None = setting(
        None, "Units per hidden layer of crnn, convrnn and mlp.", panel=NETWORK, shown=""
    )
    bidirectional: bool | None = setting(
        None,
        "Whether recurrent layers read both directions.",
        panel=NETWORK,
        shown="",
        flags=("--bidirectional/--unidirectional",),
    )
    width: float | None = setting(
        None, "Multiplier of the channels of bcresnet.", panel=NETWORK, shown="1"
    )


RunOption = Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="A network, a baseline or autoencoder; a wrong name lists them; auto: a short contest "
        "chooses. (default: auto)"
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the run in RUN, if there is one.")
]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Write logs for: tensorboard --logdir RUN")
]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        help="A model (file or registry name) whose answers the network learns.",
        rich_help_panel=CLIPS,
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Pretrained encoder under a linear head: speech, or an ONNX file (waveform in, frames "
        "of features out). Implies --model encoder.",
        rich_help_panel=NETWORK,
    ),
]
UnfreezeOption = Annotated[
    bool,
    typer.Option(
        "--unfreeze",
        help="Train the speech encoder further, on augmented clips: --model encoder-finetuned.",
        rich_help_panel=NETWORK,
    ),
]
CheckpointMirrorOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Second place for checkpoints, to resume on another machine.",
        rich_help_panel=HARDWARE,
    ),
]
