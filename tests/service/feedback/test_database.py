"""The feedback database on SQLite and PostgreSQL: schema, majority, review, privacy, retention."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text, update

from earful.data.labels.labels_csv import read_labels
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase, open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import DatabaseUnavailable, FeedbackError
from earful.service.feedback.export import DISPUTED, MISSING, NOT_SAVED, write_snapshot
from earful.service.feedback.majority import resolved_labels
from earful.service.feedback.privacy import erase_subject, export_subject_data
from earful.service.feedback.recording_rows import (
    count_recordings,
    delete_missing_rows,
    delete_orphan_files,
)
from earful.service.feedback.records import FeedbackAnnotation, RetentionLimits
from earful.service.feedback.retention import apply_retention
from earful.service.feedback.review import next_clips
from earful.service.feedback.tables import annotations_table, recordings_table, timestamp
from tests.fixtures.feedback import add_in_transaction
from tests.service.feedback.conftest import annotate, save_clip, sha256_of_name


def labels_by_name(database: FeedbackDatabase, *names: str) -> dict[str, tuple[str, bool]]:
    resolved = {entry.sha256: (entry.label, entry.is_tie) for entry in resolved_labels(database)}
    sha256s = {name: sha256_of_name(name) for name in names}
    return {name: resolved[sha256] for name, sha256 in sha256s.items() if sha256 in resolved}


def test_concurrent_opens_create_the_database_once(url: str) -> None:
    address, together = DatabaseAddress.parse(url), threading.Barrier(6)

    def key() -> bytes:
        together.wait()
        database = open_database(address)
        try:
            return database.prediction_key()
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        keys = {future.result() for future in [pool.submit(key) for _ in range(6)]}
    assert len(keys) == 1
    assert len(keys.pop()) == 32


@pytest.mark.parametrize("what", ["newer", "foreign"])
def test_newer_or_foreign_database_is_refused_and_unchanged(url: str, what: str) -> None:
    address = DatabaseAddress.parse(url)
    engine = create_engine(address.url)
    if what == "newer":
        open_database(address).close()
        statement = "UPDATE earful_meta SET value = '9' WHERE name = 'schema_version'"
    else:
        statement = "CREATE TABLE customers (name TEXT)"
    with engine.begin() as connection:
        connection.execute(text(statement))
    before = address.path.read_bytes() if address.path else b""
    with pytest.raises(FeedbackError, match="version '9'" if what == "newer" else "customers"):
        open_database(address)
    assert before == (address.path.read_bytes() if address.path else b"")
    with engine.connect() as connection:
        if what == "foreign" and address.path is None:
            names = connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            )
            assert names.scalars().all() == ["customers"]
    engine.dispose()


def test_last_label_of_each_annotator_counts_then_the_majority(database: FeedbackDatabase) -> None:
    annotate(database, "a", "low", "anna")
    annotate(database, "a", "high", "anna", speaker="theo")
    annotate(database, "b", "low", "anna")
    annotate(database, "b", "mid", "bob")
    annotate(database, "c", "low", "anna")
    annotate(database, "c", "mid", "bob")
    annotate(database, "c", "mid", "carl", speaker="lucas")
    annotate(database, "d", "low", "anna")
    annotate(database, "d", None, "anna")
    assert labels_by_name(database, "a", "b", "c", "d") == {
        "a": ("high", False),
        "b": ("", True),
        "c": ("mid", False),
    }
    [first] = [entry for entry in resolved_labels(database) if entry.sha256 == sha256_of_name("c")]
    assert (first.speaker, len(first.agreeing)) == ("lucas", 2)
    assert first.annotators == ("anna", "bob", "carl")


def test_repeated_annotation_is_stored_once_and_new_details_are_kept(
    database: FeedbackDatabase,
) -> None:
    first = annotate(database, "a", "low", "anna")
    assert annotate(database, "a", "low", "anna") == first
    second = annotate(database, "a", "low", "anna", speaker="theo")
    assert second != first
    assert annotate(database, "a", "low", "anna") == second  # fewer details, so nothing new
    assert annotate(database, "a", "mid", "anna") not in (first, second)
    assert annotate(database, "a", "low", "bob") not in (first, second)


def test_one_request_sent_by_many_threads_is_stored_once(database: FeedbackDatabase) -> None:
    annotation = FeedbackAnnotation(sha256_of_name("a"), "low", "anna", idempotency_key="r1")
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: add_in_transaction(database, annotation), range(40)))
    assert len({entry.id for entry in stored}) == 1
    assert sum(not entry.duplicate for entry in stored) == 1


def test_hostile_texts_come_back_as_they_are(database: FeedbackDatabase) -> None:
    for text_ in (
        "'; DROP TABLE earful_annotations; --",
        "=cmd|' /C calc'!A0",
        "<b>ü𝄞</b>",
        "%s ?",
    ):
        annotate(database, text_, text_, text_, speaker=text_, comment=text_ + "\nmore")
        [row] = export_subject_data(database, text_).annotations
        assert (row["label"], row["speaker"], row["comment"]) == (text_, text_, text_ + "\nmore")


def test_review_offers_disagreement_then_uncertainty_and_never_own_labels(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    margins = {
        "certain": 0.9,
        "uncertain": 0.01,
        "agreed": 0.3,
        "model": 0.8,
        "people": 0.7,
        "mine": 0.02,
    }
    for name, margin in margins.items():
        save_clip(database, recording_store, name, "mid", margin)
    annotate(database, "agreed", "mid", "anna")
    annotate(database, "model", "low", "anna")
    annotate(database, "people", "mid", "anna")
    annotate(database, "people", "low", "bob")
    annotate(database, "mine", "low", "me")
    annotate(database, "certain", "low", "me")
    annotate(database, "certain", None, "me")  # withdrawn, so it is offered again
    expected = ["people", "model", "uncertain", "certain", "agreed"]
    page = next_clips(database, "me", 10)
    assert [item.clip.sha256 for item in page.items] == [sha256_of_name(name) for name in expected]
    assert (page.remaining, page.labelled, page.cursor) == (5, 1, "")
    assert page.items[0].label_counts == {"mid": 1, "low": 1}
    paged, cursor = [], ""
    for _ in range(3):
        page = next_clips(database, "me", 2, cursor)
        paged += [item.clip.sha256 for item in page.items]
        cursor = page.cursor
    assert paged == [sha256_of_name(name) for name in expected]
    for bad in ("x", "[1]", '[1,0.5,"a"]', '[1e999,0,"a"]', "[" * 190, '[null,1,"b"]'):
        with pytest.raises(ValueError, match="earlier response"):
            next_clips(database, "me", 2, bad)


def test_export_and_erasure_cover_one_subject_only(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    files = {
        name: save_clip(database, recording_store, name)
        for name in ("hers", "both", "voice", "other")
    }
    annotate(database, "hers", "low", "anna-the-annotator")
    annotate(database, "both", "low", "anna-the-annotator")
    annotate(database, "both", "low", "bob")
    annotate(database, "voice", "low", "bob", speaker="anna-the-annotator")
    annotate(database, "other", "low", "bob")
    exported = export_subject_data(database, "anna-the-annotator")
    assert [row["sha256"] for row in exported.annotations] == [
        sha256_of_name(n) for n in ("hers", "both", "voice")
    ]
    assert {clip["sha256"] for clip in exported.clips} == {
        sha256_of_name(n) for n in ("hers", "both", "voice")
    }
    deleted = erase_subject(database, recording_store, "anna-the-annotator")
    assert (deleted.rows, deleted.clips) == (3, 2)
    assert {name for name, file in files.items() if file.exists()} == {"both", "other"}
    assert export_subject_data(database, "anna-the-annotator").annotations == ()
    assert len(export_subject_data(database, "bob").annotations) == 2
    assert erase_subject(database, recording_store, "anna-the-annotator").rows == 0
    if database.address.path is not None:  # her key is in none of the files' bytes
        for part in database.address.path.parent.glob("feedback.db*"):
            assert b"anna-the-annotator" not in part.read_bytes(), part


def test_retention_deletes_unlabelled_recordings_first_and_labels_by_age_only(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    files = {
        name: save_clip(database, recording_store, name)
        for name in ("aaaa", "bbbb", "cccc", "dddd")
    }
    annotate(database, "bbbb", "low", "anna")
    backdate_recordings(database, {"aaaa": 40, "bbbb": 9, "cccc": 8, "dddd": 1})
    cleaned = apply_retention(database, recording_store, RetentionLimits(30, 0))
    assert (cleaned.expired, cleaned.labels) == (1, 0)
    assert apply_retention(database, recording_store, RetentionLimits(30, 8)).evicted == 1
    assert {name for name, file in files.items() if file.exists()} == {"bbbb", "dddd"}
    apply_retention(database, recording_store, RetentionLimits(0, 4))
    assert {name for name, file in files.items() if file.exists()} == {"bbbb"}
    assert not apply_retention(database, recording_store, RetentionLimits(0, 0))
    with database.write_transaction() as connection:
        connection.execute(update(annotations_table).values(created_at=days_ago(31)))
    cleaned = apply_retention(database, recording_store, RetentionLimits(30, 0))
    assert (cleaned.labels, resolved_labels(database)) == (1, [])
    with database.read_transaction() as connection:
        assert count_recordings(connection) == (1, 4)


def days_ago(days: float) -> str:
    return timestamp(datetime.now(UTC) - timedelta(days=days))


def backdate_recordings(database: FeedbackDatabase, days: dict[str, float]) -> None:
    with database.write_transaction() as connection:
        for name, age in days.items():
            older = update(recordings_table).where(
                recordings_table.c.sha256 == sha256_of_name(name)
            )
            connection.execute(older.values(saved_at=days_ago(age)))


def test_export_is_a_labels_csv_and_lists_omissions(
    database: FeedbackDatabase, recording_store: RecordingStore, tmp_path: Path
) -> None:
    good = save_clip(database, recording_store, "good")
    cut = save_clip(database, recording_store, "cut")
    save_clip(database, recording_store, "tie")
    cut.write_bytes(b"cu")
    for name in ("good", "cut", "gone", "tie"):
        annotate(database, name, "low", "=anna()", speaker="theo")
    annotate(database, "tie", "mid", "bob")
    snapshot = write_snapshot(database, recording_store, tmp_path / "snapshot")
    assert snapshot.clips == 1
    assert snapshot.reasons == {DISPUTED: 1, NOT_SAVED: 1, MISSING: 1}
    [clip] = read_labels(snapshot.path).clips
    assert (clip.path, clip.label, clip.speaker) == (good, "low", "theo")
    assert "feedback,'=anna(),2" in snapshot.path.read_text()
    assert write_snapshot(database, recording_store, tmp_path / "snapshot").clips == 1  # replaced


def test_leftovers_of_a_killed_process_are_repaired(
    database: FeedbackDatabase, recording_store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    intact = save_clip(database, recording_store, "intact")
    lost = save_clip(database, recording_store, "lost")
    lost.unlink()
    stray = recording_store.path(sha256_of_name("stray"), "wav")
    recording_store.write(sha256_of_name("stray"), "wav", b"stray")
    foreign = stray.parent / "notes.wav"
    foreign.write_bytes(b"mine")
    # Too young: another process may be about to write its row.
    assert delete_orphan_files(database, recording_store) == 0
    monkeypatch.setattr("earful.service.feedback.audio_files.ORPHAN_AGE_SECONDS", -5)
    (recording_store.folder / ".earful-audio").rename(recording_store.folder / "away")
    # Without the marker, as at the mount point of a disk that is not mounted.
    assert delete_orphan_files(database, recording_store) == 0
    (recording_store.folder / "away").rename(recording_store.folder / ".earful-audio")
    assert delete_orphan_files(database, recording_store) == 1
    assert (intact.exists(), stray.exists(), foreign.exists()) == (True, False, True)
    assert delete_missing_rows(database, recording_store) == 1
    with database.read_transaction() as connection:
        assert count_recordings(connection)[0] == 1


def test_audio_files_are_private_and_their_folder_belongs_to_one_database(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    file = save_clip(database, recording_store, "mine")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(recording_store.folder.stat().st_mode) == 0o700
    with pytest.raises(FeedbackError, match="another database"):
        recording_store.prepare("another owner")
    for sha256, suffix in (("../" * 20 + "a" * 4, "wav"), ("a" * 64, "../x"), ("A" * 64, "wav")):
        with pytest.raises(ValueError, match="not a recording name"):
            recording_store.path(sha256, suffix)
    if database.address.path is not None:
        assert stat.S_IMODE(database.address.path.stat().st_mode) == 0o600


def test_a_recording_that_cannot_be_written_leaves_no_row(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    (recording_store.folder / sha256_of_name("x")[:2]).write_bytes(b"in the way")
    with pytest.raises(DatabaseUnavailable):
        save_clip(database, recording_store, "x")
    with database.read_transaction() as connection:
        assert count_recordings(connection) == (0, 0)
