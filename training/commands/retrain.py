"""``earful retrain``: train the champion with new labels, and promote the result if it passes."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.errors import UsageError
from earful.data.labels.csv_options import CsvOptions
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.commands.feedback import DatabaseOption, SavedRecordingsOption
from earful.service.commands.next_steps import (
    keep_on_interrupt,
    kept_if_any,
    print_message,
    print_next,
    program,
)
from earful.service.commands.options import (
    EXIT_SOME_FAILED,
    ColumnsOption,
    LabelSeparatorOption,
    RegistryOption,
    csv_options,
)
from earful.service.core.defaults import (
    DEFAULT_FEEDBACK_URL,
    DEFAULT_RECORDINGS_FOLDER,
    DEFAULT_RETRAIN_FOLDER,
)
from earful.service.core.echo import echo
from earful.training.commands.options import AudioDirOption, DeviceOption, JsonOption

if TYPE_CHECKING:
    from earful.data.labels.clip import LabelledClips
    from earful.training.retraining.job import RetrainOutcome


def retrain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model in the registry.")],
    new: Annotated[
        Path | None, typer.Option("--new", metavar="LABELS.csv", help="Newly labelled clips.")
    ] = None,
    audio_dir: AudioDirOption = None,
    columns: ColumnsOption = None,
    label_separator: LabelSeparatorOption = "",
    from_feedback: Annotated[
        bool,
        typer.Option("--from-feedback", help="Train on the feedback of users of the service."),
    ] = False,
    feedback: DatabaseOption = DEFAULT_FEEDBACK_URL,
    saved_recordings: SavedRecordingsOption = DEFAULT_RECORDINGS_FOLDER,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Annotator whose feedback may overrule curated labels, or `all`. Repeatable. "
            "(default: two annotators of different senders who agree)",
        ),
    ] = None,
    add_labels: Annotated[bool, typer.Option("--add-labels", help="Accept new labels.")] = False,
    remove_labels: Annotated[
        str | None, typer.Option(help="Labels to remove, comma-separated.")
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Start from fresh weights, not from the champion's."),
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used, and list them.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Maximal number of epochs. (default: 10 from the champion's weights)"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of order and augmentation.")
    ] = 42,
    margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="Largest loss of accuracy in a group that is promoted."),
    ] = 0.03,
    min_new_label_accuracy: Annotated[
        float,
        typer.Option(min=0, max=1, help="Smallest accuracy on held-out clips of a new label."),
    ] = 0.8,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Keep the new version as challenger.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    work: Annotated[
        Path, typer.Option(envvar="EARFUL_RETRAIN_DIR", help="Folder of unfinished retrainings.")
    ] = DEFAULT_RETRAIN_FOLDER,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the champion with new labels; promote the result only if it is not worse.

    The same command continues after a stop. Exit code 1: not promoted, or rows were left out.
    """
    from earful.models.registry.registry import Registry
    from earful.service.feedback.export import SOURCE
    from earful.training.retraining.job import RetrainJob, RetrainOutcome
    from earful.training.retraining.plan import RetrainOptions
    from earful.training.retraining.plan_retraining import champion_labels, plan_retraining
    from earful.training.retraining.retrain import retrain as run_retraining
    from earful.training.runs.progress import training_progress

    labels_to_remove = tuple(
        label.strip() for label in (remove_labels or "").split(",") if label.strip()
    )
    if new is None and not labels_to_remove and not from_feedback:
        raise UsageError(
            "nothing to retrain with; give --new LABELS.csv, --from-feedback or --remove-labels"
        )
    if new is not None and from_feedback:
        raise UsageError("give --new or --from-feedback, not both")
    if trust and not from_feedback:
        raise UsageError("--trust names annotators of feedback; it goes with --from-feedback")
    options = RetrainOptions(
        add_labels,
        labels_to_remove,
        from_scratch,
        skip_bad,
        epochs,
        seed,
        margin,
        min_new_label_accuracy,
    )
    model_registry = Registry(registry)
    if from_feedback:
        known_labels = champion_labels(model_registry, name)
        labelled = _read_feedback_labels(feedback, saved_recordings, trust or [], known_labels)
        source = SOURCE
    else:
        labelled, source = _read_csv_labels(new, csv_options(audio_dir, columns, label_separator))
    job = RetrainJob(
        model_registry,
        name,
        labelled,
        source,
        options,
        work,
        promote=not no_promote,
        device=device,
        on_stage=lambda stage: echo(stage, err=True),
        progress=training_progress,
    )
    if dry_run:
        planned = plan_retraining(job)
        note = "dry run: nothing was changed"
        outcome = RetrainOutcome(planned.plan, note=note, kept_labels=planned.kept_labels)
    else:
        with keep_on_interrupt(kept_if_any(work, "*/*", "the finished part")):
            outcome = run_retraining(job)
    echo(
        json.dumps(_outcome_dict(name, outcome), indent=2) if as_json else _format_outcome(outcome)
    )
    standing = outcome.standing
    if standing is not None and standing.role != "deleted":
        place = () if registry == DEFAULT_REGISTRY else ("--registry", registry)
        print_next(("models", "show", f"{standing.name}@{standing.number}", *place))
    not_promoted = outcome.version is not None and not outcome.promoted and not no_promote
    if not_promoted or (outcome.plan is not None and outcome.plan.problems):
        raise typer.Exit(EXIT_SOME_FAILED)


def _read_csv_labels(new: Path | None, options: CsvOptions) -> "tuple[LabelledClips, str]":
    from earful.data.labels.clip import LabelledClips
    from earful.data.labels.labels_csv import read_labels

    if new is None:
        return LabelledClips((), (), frozenset()), "labels removed"
    labelled = read_labels(new, options)
    for note in labelled.notes:
        print_message(f"note: {note}")
    return labelled, new.name


def _read_feedback_labels(
    url: str, saved_recordings: Path, trust: list[str], known_labels: tuple[str, ...]
) -> "LabelledClips":
    from earful.service.commands.feedback import opened_database
    from earful.service.feedback.audio_files import RecordingStore
    from earful.service.feedback.export import labelled_clips

    with opened_database(url) as database:
        labelled = labelled_clips(database, RecordingStore(saved_recordings), trust, known_labels)
    for note in labelled.notes:
        print_message(note)
    return labelled


def _outcome_dict(name: str, outcome: "RetrainOutcome") -> dict[str, object]:
    version, standing = outcome.version, outcome.standing
    return {
        "name": name,
        "version": version.number if version else None,
        "parent": version.parent if version else None,
        "promoted": outcome.promoted,
        "role": standing.role if standing else None,
        "next": _promote_command(outcome),
        "note": outcome.note,
        "reasons": list(outcome.reasons),
        "kept_labels": [asdict(change) for change in outcome.kept_labels],
        "plan": outcome.plan.to_dict() if outcome.plan else None,
        "gate": outcome.gate_result.to_dict() if outcome.gate_result else None,
    }


def _promote_command(outcome: "RetrainOutcome") -> str:
    """The command that promotes the version; empty if it is champion, or deleted."""
    words = outcome.standing.promote if outcome.standing else ()
    return f"{program()} {shlex.join(words)}" if words else ""


def _format_outcome(outcome: "RetrainOutcome") -> str:
    from earful.service.core.label_changes import list_kept

    lines = [outcome.plan.text()] if outcome.plan else list_kept(outcome.kept_labels)
    if outcome.gate_result:
        overall = outcome.gate_result.overall
        before, after = 100 * (overall.champion or 0), 100 * overall.candidate
        lines.append(
            f"frozen test set, {overall.clips} clips: champion {before:.2f} %, candidate "
            f"{after:.2f} % ({overall.lost} lost, {overall.won} won, p {overall.p_value:.3f})"
        )
    if not outcome.promoted:
        lines += [f"not promoted: {reason}" for reason in outcome.reasons]
    if outcome.standing:
        lines.append(str(outcome.standing))
    if command := _promote_command(outcome):
        lines.append(f"promote it anyway: {command}")
    return "\n".join([*lines, *([outcome.note] if outcome.note else [])])
