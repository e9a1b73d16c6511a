"""``earshot retrain``: new labels to a better model, or to none."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.errors import EarshotError
from models.registry.registry import DEFAULT_ROOT
from service.cli import EXIT_SOME_FAILED, RegistryOption
from training.commands.options import AudioDirOption, DeviceOption, JsonOption

if TYPE_CHECKING:
    from training.retrain.run import Outcome

DEFAULT_WORK = Path("artifacts/retrain")


def retrain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model of the registry.")],
    new: Annotated[
        Path | None, typer.Option("--new", metavar="LABELS.csv", help="Newly labelled clips.")
    ] = None,
    audio_dir: AudioDirOption = None,
    add_labels: Annotated[
        bool, typer.Option("--add-labels", help="Accept labels that the model does not know.")
    ] = False,
    remove_labels: Annotated[
        str | None, typer.Option(help="Labels to unlearn, comma-separated.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Fresh weights instead of the champion's.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used, and list them.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs; 10 from the champion's weights.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of order and noise.")] = 42,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a group's clips that may be lost.")
    ] = 0.03,
    least_accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="On held-out clips of each new label.")
    ] = 0.8,
    keep: Annotated[
        bool, typer.Option("--keep", help="Never promote; keep it as challenger.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    registry: RegistryOption = DEFAULT_ROOT,
    work: Annotated[Path, typer.Option(help="Folder of what is not finished.")] = DEFAULT_WORK,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the champion on with new labels; promote the result only if it is not worse.

    The same command goes on after a stop. Exit code 1: done, and not promoted, or rows left out.
    """
    from data.labels import LabelledClips, read_labels
    from models.registry.registry import Registry
    from training.progress import training_progress
    from training.retrain.plan import Options
    from training.retrain.run import Outcome, Request, plan_retraining
    from training.retrain.run import retrain as run_retraining

    removed = tuple(label.strip() for label in (remove_labels or "").split(",") if label.strip())
    if new is None and not removed:
        raise EarshotError("nothing to retrain with; give --new LABELS.csv or --remove-labels")
    options = Options(
        add_labels, removed, from_scratch, skip_bad, epochs, seed, margin, least_accuracy
    )
    labelled = read_labels(new, audio_dir) if new else LabelledClips((), (), frozenset())
    source = new.name if new else "labels removed"
    with training_progress(epochs or 10) as progress:
        request = Request(
            Registry(registry), name, labelled, source, options, work, promote=not keep,
            device=device, on_stage=lambda stage: typer.echo(stage, err=True),
            progress=lambda _: progress,
        )  # fmt: skip
        if dry_run:
            _, plan, _ = plan_retraining(request)
            outcome = Outcome(plan, note="dry run: nothing was changed")
        else:
            outcome = run_retraining(request)
    typer.echo(json.dumps(_facts(name, outcome), indent=2) if as_json else _told(name, outcome))
    kept = outcome.version is not None and not outcome.promoted and not keep
    if kept or (outcome.plan is not None and outcome.plan.problems):
        raise typer.Exit(EXIT_SOME_FAILED)


def _facts(name: str, outcome: "Outcome") -> dict[str, object]:
    version = outcome.version
    return {
        "name": name,
        "version": version.number if version else None,
        "parent": version.parent if version else None,
        "promoted": outcome.promoted,
        "note": outcome.note,
        "plan": outcome.plan.to_dict() if outcome.plan else None,
        "gate": outcome.verdict.to_dict() if outcome.verdict else None,
    }


def _told(name: str, outcome: "Outcome") -> str:
    lines = [outcome.plan.text()] if outcome.plan else []
    if outcome.verdict:
        overall = outcome.verdict.overall
        before, after = 100 * (overall.champion or 0), 100 * overall.candidate
        lines.append(
            f"frozen test set, {overall.clips} clips: champion {before:.2f} %, candidate "
            f"{after:.2f} % ({overall.lost} lost, {overall.won} won, p {overall.p_value:.3f})"
        )
        lines += [f"not promoted: {reason}" for reason in outcome.verdict.failures()]
    if outcome.version:
        role = "champion" if outcome.promoted else "challenger"
        lines.append(
            f"{name}@{outcome.version.number} is {role}; `earshot models show "
            f"{name}@{outcome.version.number}` tells of it"
        )
    return "\n".join([*lines, *([outcome.note] if outcome.note else [])])
