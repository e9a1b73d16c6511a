"""``earful tune``: a search for good settings."""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earful.service.commands.next_steps import (
    keep_on_interrupt,
    kept_if_any,
    print_message,
    print_next,
)
from earful.service.core.echo import echo
from earful.training.commands.options import (
    DatasetArgument,
    DeviceOption,
    JsonOption,
    SettingOption,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from earful.training.runs.progress import TrainingProgress


def tune(
    dataset: DatasetArgument,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the search; an earlier one continues.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Number of trials in all, with earlier ones.")
    ] = 30,
    model: Annotated[str, typer.Option(help="Network whose settings are searched.")] = "cnn",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Maximal number of epochs per trial. (default: as in train)"),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH[:log]|NAME=a,b,c",
            help="Range or choices of one more setting, or of a searched one. Repeatable.",
        ),
    ] = None,
    setting: SettingOption = None,
    objective: Annotated[
        Literal["accuracy", "loss"],
        typer.Option(help="Measured on the validation clips at the epoch of the lowest loss."),
    ] = "accuracy",
    pruner: Annotated[
        Literal["median", "hyperband", "none"],
        typer.Option(help="Rule that stops unpromising trials early."),
    ] = "median",
    study: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database, postgresql://... or sqlite:///FILE. (default: study.db in --out)",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the study in a shared database.")] = "earful",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search and of every trial.")] = 42,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Train with the best settings at the end, into run in --out."
        ),
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Search for good settings; trials are compared on speakers that they are not trained on.

    Searched by default: learning rate, batch size, weight decay, label smoothing, optimizer,
    schedule, and dropout and size of the network. Test clips are not used.
    """
    from earful.data.atomic_write import require_own_folder
    from earful.data.dataset.dataset import open_dataset
    from earful.models.networks.zoo import require_classifier
    from earful.training.runs.train_run import dataset_config
    from earful.training.tuning.findings import collect_results, write_results
    from earful.training.tuning.search import BEST_RUN_FOLDER, SearchConfig, run_search
    from earful.training.tuning.space import build_space, require_network
    from earful.training.tuning.speaker_split import hold_out_speakers

    require_own_folder(out, ("study.db", "trials", "trials.csv"), "search")
    require_classifier(model)
    require_network(model)
    full_dataset = open_dataset(dataset)
    own = {"seed": seed} | ({} if epochs is None else {"epochs": epochs})
    # --search and --set take precedence over what suits the dataset.
    base = dataset_config(model, own, full_dataset)
    space, base = build_space(base, search or [], setting or [])
    view, note = hold_out_speakers(full_dataset)
    print_message(f"note: {note}")
    for setting_name, dimension in space.dimensions.items():
        echo(f"  {setting_name} {dimension}", err=True)
    search_config = SearchConfig(
        view,
        out,
        base,
        space,
        objective,
        pruner,
        study,
        name,
        device,
        on_trial=_trial_bars(base.epochs),
        on_finished=_print_trial,
        on_stale=_print_stale_trials,
    )
    with keep_on_interrupt(kept_if_any(out, "trials/*", "finished trials")):
        finished_study = run_search(search_config, trials)
    result = collect_results(search_config, finished_study, note, dataset)
    write_results(result, finished_study, out)
    echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if as_json else result.text())
    echo(f"trials, best settings and a plot in {out}", err=True)
    if retrain and result.config is not None:
        from earful.training.runs.progress import training_progress
        from earful.training.runs.train_run import train_run

        run = out / BEST_RUN_FOLDER
        kept = kept_if_any(run, "last.pt", "finished epochs")
        with keep_on_interrupt(kept), training_progress(base.epochs) as progress:
            train_run(
                full_dataset, run, result.config, device=device, resume=True, progress=progress
            )
        echo(f"{run}: the best settings, trained on the whole dataset", err=True)
        print_next(("export", run, "--out", "model.onnx"))


def _trial_bars(epochs: int) -> "Callable[[int, int], AbstractContextManager[TrainingProgress]]":
    """A progress bar per trial, on a terminal."""
    from earful.training.runs.progress import TrainingProgress, work_progress

    @contextlib.contextmanager
    def bar(trial_index: int, total: int) -> Iterator[TrainingProgress]:
        with work_progress(f"trial {trial_index} of {total}, epochs") as done:
            yield TrainingProgress(on_epoch=lambda record: done(record.epoch, epochs))

    return bar


def _print_trial(trial: "FrozenTrial", done: int, total: int) -> None:
    from earful.training.tuning.findings import TrialResult

    echo(f"{done} of {total}: {TrialResult.from_trial(trial).format_line()}", err=True)


def _print_stale_trials(numbers: list[int]) -> None:
    listed = ", ".join(map(str, numbers))
    echo(f"trial {listed} was left unfinished by a process that has ended", err=True)
