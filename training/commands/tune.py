"""The command that searches for good settings: tune."""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earful.data.errors import EarfulError
from earful.training.commands.options import DeviceOption, JsonOption

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from earful.training.runs.progress import TrainingProgress


def tune(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by prepare.")],
    out: Annotated[Path, typer.Option(help="Folder of the search; a second start goes on.")],
    trials: Annotated[
        int, typer.Option(min=1, help="Trials in all, with those that were made before.")
    ] = 30,
    model: Annotated[str, typer.Option(help="The network whose settings are searched.")] = "cnn",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each trial, at most. (default: as in train)")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH[:log]|NAME=a,b,c",
            help="A setting or option of the network to search besides, or elsewhere. Repeatable.",
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A setting that all trials share. Repeatable."),
    ] = None,
    objective: Annotated[
        Literal["accuracy", "loss"],
        typer.Option(help="Of the validation clips, at the epoch of the lowest loss."),
    ] = "accuracy",
    pruner: Annotated[
        Literal["median", "hyperband", "none"],
        typer.Option(help="Who ends hopeless trials early."),
    ] = "median",
    study: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A shared database, postgresql://... or sqlite:///FILE; OUT/study.db without it.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the study in a shared database.")] = "earful",
    seed: Annotated[int, typer.Option(min=0, help="Of the search and of every trial.")] = 42,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train with the best settings at the end, to OUT/run.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Search for good settings: trials compared on speakers that they are not trained on.

    Without --vary: the learning rate, batch size, weight decay, label smoothing, optimizer and
    schedule, and the network's dropout and size. Clips with several labels are learnt label by
    label (loss bce), as in train. The test part is never looked at.
    """
    with _optuna_needed():
        from earful.training.tuning.findings import gather, write_findings
        from earful.training.tuning.search import RUN, Search, search
        from earful.training.tuning.space import chosen_space, require_trained
        from earful.training.tuning.speaker_split import voices_apart

    import dataclasses

    from earful.data.dataset.dataset import open_dataset
    from earful.models.networks.zoo import require_classifier
    from earful.training.config.train_config import default_config
    from earful.training.runs.train_run import adapt_to_dataset

    require_classifier(model)
    require_trained(model)
    base = dataclasses.replace(default_config(model), seed=seed)
    if epochs is not None:
        base = dataclasses.replace(base, epochs=epochs)
    whole = open_dataset(dataset)
    # Whatever is fixed or varied goes over it.
    base = adapt_to_dataset(base, {}, whole, processes=1)
    space, base = chosen_space(base, vary or [], fix or [])
    view, note = voices_apart(whole)
    typer.echo(f"note: {note}", err=True)
    for varied, found in space.varied.items():
        typer.echo(f"  {varied} {found}", err=True)
    asked = Search(
        view, out, base, space, objective, pruner, study, name, device,
        on_trial=_bars(base.epochs), on_finished=_tell, on_stale=_tell_stale,
    )  # fmt: skip
    try:
        made = search(asked, trials)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise
    result = gather(asked, made, note, dataset)
    write_findings(result, made, out)
    typer.echo(
        json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if as_json else result.text()
    )
    if retrain and result.config is not None:
        from earful.training.runs.progress import training_progress
        from earful.training.runs.train_run import train_run

        with training_progress(base.epochs) as progress:
            train_run(
                whole, out / RUN, result.config, device=device, resume=True,
                progress=progress,
            )  # fmt: skip
        typer.echo(f"the best settings on the whole dataset: {out / RUN}", err=True)


@contextlib.contextmanager
def _optuna_needed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise EarfulError(
            "a search needs optuna; install it with: uv sync --inexact --extra train --extra tune"
        ) from error


def _bars(epochs: int) -> "Callable[[int, int], AbstractContextManager[TrainingProgress]]":
    """A bar for each trial, on a terminal."""
    from earful.training.runs.progress import TrainingProgress, work_progress

    @contextlib.contextmanager
    def bar(nth: int, wanted: int) -> Iterator[TrainingProgress]:
        with work_progress(f"trial {nth} of {wanted}, epochs") as done:
            yield TrainingProgress(on_epoch=lambda record: done(record.epoch, epochs))

    return bar


def _tell(trial: "FrozenTrial", done: int, wanted: int) -> None:
    from earful.training.tuning.findings import Tried

    typer.echo(f"{done} of {wanted}: {Tried.of(trial).line()}", err=True)


def _tell_stale(numbers: list[int]) -> None:
    listed = ", ".join(map(str, numbers))
    typer.echo(f"trial {listed} was left unfinished by a process that is gone", err=True)
