"""``earful retrain``: new labels to a better model, or to none."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.errors import EarfulError
from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.service.commands.feedback import DatabaseOption
from earful.service.commands.options import EXIT_SOME_FAILED, RegistryOption
from earful.service.core.defaults import (
    DEFAULT_FEEDBACK_URL,
    DEFAULT_RECORDINGS_FOLDER,
    DEFAULT_RETRAIN_FOLDER,
)
from earful.training.commands.options import AudioDirOption, DeviceOption, JsonOption

if TYPE_CHECKING:
    from earful.data.labels.labels_csv import LabelledClips
    from earful.training.retraining.retrain import Outcome


def retrain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model of the registry.")],
    new: Annotated[
        Path | None, typer.Option("--new", metavar="LABELS.csv", help="Newly labelled clips.")
    ] = None,
    audio_dir: AudioDirOption = None,
    from_feedback: Annotated[
        bool,
        typer.Option("--from-feedback", help="Learn what people said of the service's answers."),
    ] = False,
    feedback: DatabaseOption = DEFAULT_FEEDBACK_URL,
    kept_audio: Annotated[
        Path, typer.Option(envvar="EARFUL_RECORDINGS_DIR", help="Folder of the service's recordings.")
    ] = DEFAULT_RECORDINGS_FOLDER,
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
    registry: RegistryOption = DEFAULT_REGISTRY,
    work: Annotated[
        Path, typer.Option(envvar="EARFUL_RETRAIN_DIR", help="Folder of what is not finished.")
    ] = DEFAULT_RETRAIN_FOLDER,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the champion on with new labels; promote the result only if it is not worse.

    The same command goes on after a stop. Exit code 1: done, and not promoted, or rows left out.
    """
    from earful.models.registry.registry import Registry
    from earful.training.retraining.plan import Options
    from earful.training.retraining.retrain import Outcome, Request, plan_retraining
    from earful.training.retraining.retrain import retrain as run_retraining
    from earful.training.runs.progress import training_progress

    removed = tuple(label.strip() for label in (remove_labels or "").split(",") if label.strip())
    if new is None and not removed and not from_feedback:
        raise EarfulError(
            "nothing to retrain with; give --new LABELS.csv, --from-feedback or --remove-labels"
        )
    if new is not None and from_feedback:
        raise EarfulError("give --new or --from-feedback, one after the other")
    options = Options(
        add_labels, removed, from_scratch, skip_bad, epochs, seed, margin, least_accuracy
    )
    if from_feedback:
        labelled, source = _from_feedback(feedback, kept_audio)
    else:
        labelled, source = _from_csv(new, audio_dir)
    request = Request(
        Registry(registry), name, labelled, source, options, work, promote=not keep,
        device=device, on_stage=lambda stage: typer.echo(stage, err=True),
        progress=training_progress,
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


def _from_csv(new: Path | None, audio_dir: Path | None) -> "tuple[LabelledClips, str]":
    from earful.data.labels.labels_csv import LabelledClips, read_labels

    if new is None:
        return LabelledClips((), (), frozenset()), "labels removed"
    return read_labels(new, audio_dir), new.name


def _from_feedback(url: str, kept_audio: Path) -> "tuple[LabelledClips, str]":
    from earful.data.labels.labels_csv import LabelledClips, read_labels
    from earful.service.commands.feedback import opened_database
    from earful.service.feedback.audio_files import RecordingStore
    from earful.service.feedback.export import SOURCE, write_snapshot

    with opened_database(url) as database, tempfile.TemporaryDirectory() as folder:
        snapshot = write_snapshot(database, RecordingStore(kept_audio), Path(folder) / "snapshot")
        for reason, count in snapshot.reasons.items():
            typer.echo(f"{count} labelled recordings of the feedback left out: {reason}", err=True)
        if not snapshot.clips:
            return LabelledClips((), (), frozenset()), SOURCE
        return read_labels(snapshot.path), SOURCE


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
    lines += [f"not promoted: {reason}" for reason in outcome.reasons]
    if outcome.version:
        role = "champion" if outcome.promoted else "challenger"
        lines.append(
            f"{name}@{outcome.version.number} is {role}; `earful models show "
            f"{name}@{outcome.version.number}` tells of it"
        )
    return "\n".join([*lines, *([outcome.note] if outcome.note else [])])
