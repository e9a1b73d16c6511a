"""``earful feedback``: what is kept, a person's share of it, labels to train on, and deletion."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.errors import EarfulError
from earful.service.core.defaults import (
    DEFAULT_FEEDBACK_URL,
    DEFAULT_RECORDINGS_FOLDER,
    FEEDBACK_OFF,
)
from earful.service.feedback.database_url import Place

if TYPE_CHECKING:
    from earful.service.feedback.database import Store

PlaceOption = Annotated[
    str,
    typer.Option(
        "--feedback", metavar="URL", envvar="EARFUL_FEEDBACK_URL", show_default=DEFAULT_FEEDBACK_URL,
        help="The database of feedback.",
    ),
]  # fmt: skip
AudioDirOption = Annotated[
    Path, typer.Option(envvar="EARFUL_AUDIO_DIR", help="The folder of the kept audio.")
]
WhoOption = Annotated[
    str | None, typer.Option("--who", metavar="KEY", help="A person: who labelled, or speaks.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


feedback_app = typer.Typer(help="Show, export and delete what people said of answers.")


@feedback_app.command("list")
def show(feedback: PlaceOption = DEFAULT_FEEDBACK_URL, as_json: JsonOption = False) -> None:
    """Count what is kept: labels, people, recordings."""
    from earful.service.feedback.stats import stats, told

    with opened_store(feedback) as store:
        found = stats(store)
    typer.echo(json.dumps(found.as_json()) if as_json else told(found))


@feedback_app.command()
def export(
    who: WhoOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write labels.csv of all labelled, kept clips."),
    ] = None,
    feedback: PlaceOption = DEFAULT_FEEDBACK_URL,
    audio_dir: AudioDirOption = DEFAULT_RECORDINGS_FOLDER,
) -> None:
    """A person's data as JSON (--who), or all labels to train on (--labels)."""
    from earful.service.feedback.audio_files import AudioStore
    from earful.service.feedback.export import write_snapshot
    from earful.service.feedback.privacy import data_of

    if (who is None) == (labels is None):
        raise typer.BadParameter("give --who KEY or --labels FOLDER")
    audio = AudioStore(audio_dir)
    with opened_store(feedback) as store:
        if labels is None:
            found = data_of(store, str(who))
            typer.echo(json.dumps(found.as_json(str(who), audio.name), indent=1))
            return
        snapshot = write_snapshot(store, audio, labels)
    typer.echo(f"{snapshot.clips} labelled clips in {snapshot.path}", err=True)
    for reason, count in snapshot.reasons.items():
        typer.echo(f"{count} left out: {reason}", err=True)


@feedback_app.command()
def delete(
    who: Annotated[str, typer.Option("--who", metavar="KEY", help="A person: labels or speaks.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    feedback: PlaceOption = DEFAULT_FEEDBACK_URL,
    audio_dir: AudioDirOption = DEFAULT_RECORDINGS_FOLDER,
) -> None:
    """Delete a person's labels, and the recordings that they speak in or alone have labelled."""
    from earful.service.feedback.audio_files import AudioStore
    from earful.service.feedback.privacy import data_of, delete_person

    with opened_store(feedback) as store:
        found = data_of(store, who)
        if not found.feedback:
            raise EarfulError(f"nothing is kept under {who!r}; keys are compared letter by letter")
        counted = f"{len(found.feedback)} labels and up to {len(found.clips)} recordings"
        if not yes:
            typer.confirm(f"{counted}: delete them?", abort=True, err=True)
        gone = delete_person(store, AudioStore(audio_dir), who)
    typer.echo(f"deleted {gone.rows} labels and {gone.clips} recordings ({gone.n_bytes} bytes)")


@feedback_app.command()
def sweep(
    retention_days: Annotated[
        float, typer.Option(min=0, envvar="EARFUL_RETENTION_DAYS", help="0 keeps all.")
    ] = 365.0,
    max_audio_bytes: Annotated[
        int, typer.Option(min=0, envvar="EARFUL_MAX_AUDIO_BYTES", help="0 is no limit.")
    ] = 10_000_000_000,
    feedback: PlaceOption = DEFAULT_FEEDBACK_URL,
    audio_dir: AudioDirOption = DEFAULT_RECORDINGS_FOLDER,
) -> None:
    """Delete what is too old or too much now, and mend what a killed service left."""
    from earful.service.feedback.audio_files import AudioStore
    from earful.service.feedback.recording_rows import forget_missing, mend
    from earful.service.feedback.records import Retention
    from earful.service.feedback.retention import sweep as clean

    audio = AudioStore(audio_dir)
    with opened_store(feedback) as store:
        swept = clean(store, audio, Retention(retention_days, max_audio_bytes))
        strays, missing = mend(store, audio), forget_missing(store, audio)
    typer.echo(
        f"deleted {swept.expired} recordings and {swept.labels} labels by age, "
        f"{swept.crowded_out} recordings for room ({swept.n_bytes} bytes); "
        f"{strays} files that nothing knew, {missing} entries without a file"
    )


@contextmanager
def opened_store(url: str) -> "Iterator[Store]":
    from earful.service.feedback.database import open_store

    if url == FEEDBACK_OFF:
        raise EarfulError("feedback is off (EARFUL_FEEDBACK_URL); give --feedback URL")
    store = open_store(Place.parse(url), create=False)
    try:
        yield store
    finally:
        store.close()
