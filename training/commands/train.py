"""``earful train``: a dataset, or labels that are prepared first, to a run."""

from typing import Any

from earful.service.commands.options import (
    ColumnsOption,
    LabelSeparatorOption,
    csv_flags,
    csv_options,
    flags_of,
)
from earful.training.commands import train_options as flags
from earful.training.commands.options import (
    AudioDirOption,
    DeviceOption,
    ExtraOption,
    NegativesOption,
    SettingOption,
    TrainingDataArgument,
)
from earful.training.commands.run_messages import print_run, resumable
from earful.training.commands.setting_options import with_settings
from earful.training.config.train_config import TrainConfig


@with_settings(TrainConfig, flags.NetworkFlags, after="model")
def train(
    dataset: TrainingDataArgument,
    out: flags.RunOption,
    teacher: flags.TeacherOption = None,
    encoder: flags.EncoderOption = None,
    unfreeze: flags.UnfreezeOption = False,
    model: flags.ModelOption = None,
    resume: flags.ResumeOption = False,
    setting: SettingOption = None,
    extra: ExtraOption = None,
    negatives: NegativesOption = None,
    device: DeviceOption = "auto",
    tensorboard: flags.TensorboardOption = False,
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    checkpoint_mirror: flags.CheckpointMirrorOption = None,
    **settings: Any,
) -> None:
    """Train a network; writes checkpoints, metrics, learning curves and a confusion matrix.

    A flag that is not given is the network's own choice.

    Several processes: torchrun --nproc-per-node 2 --no-python earful train ...
    """
    from earful.training.api.train import requested_network
    from earful.training.api.train import train as train_network
    from earful.training.config.overrides import parse_settings

    labelling = csv_options(audio_dir, columns, label_separator)
    sources: dict[str, Any] = {"extra": extra, "negatives": negatives, "teacher": teacher}
    sources["checkpoint_mirror"] = checkpoint_mirror
    choice: dict[str, Any] = {"model": model, "encoder": encoder, "unfreeze": unfreeze}
    given = {name: value for name, value in settings.items() if value is not None}
    if setting:
        network = requested_network(out, checkpoint_mirror, resume=resume, **choice)
        given |= parse_settings(network, setting, "--set", ("model", "epochs"), given)
    resume_command = ["train", dataset, "--out", out, "--resume", *flags_of(sources)]
    resume_command += csv_flags(labelling)
    with resumable(out, resume_command):
        result = train_network(
            dataset,
            out,
            device=device,
            resume=resume,
            tensorboard=tensorboard,
            progress=True,
            **choice,
            **vars(labelling),
            **sources,
            **given,
        )
    print_run(result, resume_command)
