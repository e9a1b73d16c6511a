"""The database, SQLite and PostgreSQL alike: whose it is, what counts, what goes and what stays."""

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text, update

from earful.data.labels.labels_csv import read_labels
from earful.service.feedback.annotations import add_alone
from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database import Store, open_store
from earful.service.feedback.database_url import Place
from earful.service.feedback.errors import FeedbackError, StoreUnavailable
from earful.service.feedback.export import DISAGREEING, MISSING, NOT_KEPT, write_snapshot
from earful.service.feedback.majority import resolved_labels
from earful.service.feedback.privacy import data_of, delete_person
from earful.service.feedback.recording_rows import forget_missing, held, mend
from earful.service.feedback.records import Opinion, Retention
from earful.service.feedback.retention import sweep
from earful.service.feedback.review import next_clips
from earful.service.feedback.tables import clips, feedback, stamp
from tests.service.feedback.conftest import keep_clip, named, say


def labels_by_name(store: Store, *names: str) -> dict[str, tuple[str, bool]]:
    found = {entry.sha256: (entry.label, entry.disagreeing) for entry in resolved_labels(store)}
    return {name: found[named(name)] for name in names if named(name) in found}


def test_a_database_is_made_once_however_many_come_at_the_same_time(url: str) -> None:
    place, together = Place.parse(url), threading.Barrier(6)

    def key() -> bytes:
        together.wait()
        store = open_store(place)
        try:
            return store.prediction_key()
        finally:
            store.close()

    with ThreadPoolExecutor(6) as pool:
        keys = {future.result() for future in [pool.submit(key) for _ in range(6)]}
    assert len(keys) == 1
    assert len(keys.pop()) == 32


@pytest.mark.parametrize("what", ["newer", "foreign"])
def test_a_newer_or_foreign_database_is_told_and_left_as_it_is(url: str, what: str) -> None:
    place = Place.parse(url)
    engine = create_engine(place.url)
    if what == "newer":
        open_store(place).close()
        statement = "UPDATE earful_meta SET value = '2' WHERE name = 'schema_version'"
    else:
        statement = "CREATE TABLE customers (name TEXT)"
    with engine.begin() as connection:
        connection.execute(text(statement))
    before = place.path.read_bytes() if place.path else b""
    with pytest.raises(FeedbackError, match="version '2'" if what == "newer" else "customers"):
        open_store(place)
    assert before == (place.path.read_bytes() if place.path else b"")
    with engine.connect() as connection:
        if what == "foreign" and place.path is None:
            names = connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            )
            assert names.scalars().all() == ["customers"]
    engine.dispose()


def test_the_last_word_of_each_person_counts_and_then_the_majority(store: Store) -> None:
    say(store, "a", "low", "anna")
    say(store, "a", "high", "anna", speaker="theo")
    say(store, "b", "low", "anna")
    say(store, "b", "mid", "bob")
    say(store, "c", "low", "anna")
    say(store, "c", "mid", "bob")
    say(store, "c", "mid", "carl", speaker="lucas")
    say(store, "d", "low", "anna")
    say(store, "d", None, "anna")
    assert labels_by_name(store, "a", "b", "c", "d") == {
        "a": ("high", False), "b": ("", True), "c": ("mid", False),
    }  # fmt: skip
    [first] = [entry for entry in resolved_labels(store) if entry.sha256 == named("c")]
    assert (first.speaker, first.votes) == ("lucas", 2)
    assert first.annotators == ("anna", "bob", "carl")


def test_what_is_said_again_is_stored_once_and_news_is_not_lost(store: Store) -> None:
    first = say(store, "a", "low", "anna")
    assert say(store, "a", "low", "anna") == first
    second = say(store, "a", "low", "anna", speaker="theo")
    assert second != first
    assert say(store, "a", "low", "anna") == second  # says less, so nothing new
    assert say(store, "a", "mid", "anna") not in (first, second)
    assert say(store, "a", "low", "bob") not in (first, second)


def test_one_request_sent_by_many_threads_is_stored_once(store: Store) -> None:
    opinion = Opinion(named("a"), "low", "anna", request_key="r1")
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: add_alone(store, opinion), range(40)))
    assert len({entry.id for entry in stored}) == 1
    assert sum(not entry.repeated for entry in stored) == 1


def test_hostile_texts_come_back_as_they_are(store: Store) -> None:
    for text_ in ("'; DROP TABLE earful_feedback; --", "=cmd|' /C calc'!A0", "<b>ü𝄞</b>", "%s ?"):
        say(store, text_, text_, text_, speaker=text_, comment=text_ + "\nmore")
        [row] = data_of(store, text_).feedback
        assert (row["label"], row["speaker"], row["comment"]) == (text_, text_, text_ + "\nmore")


def test_disagreement_is_offered_first_then_doubt_and_own_labels_not_again(
    store: Store, audio: AudioStore
) -> None:
    for name, margin in (("sure", 0.9), ("unsure", 0.01), ("agreed", 0.3), ("model", 0.8),
                         ("people", 0.7), ("mine", 0.02)):  # fmt: skip
        keep_clip(store, audio, name, "mid", margin)
    say(store, "agreed", "mid", "anna")
    say(store, "model", "low", "anna")
    say(store, "people", "mid", "anna")
    say(store, "people", "low", "bob")
    say(store, "mine", "low", "me")
    say(store, "sure", "low", "me")
    say(store, "sure", None, "me")  # taken back: it is offered again
    expected = ["people", "model", "unsure", "sure", "agreed"]
    page = next_clips(store, "me", 10)
    assert [item.clip.sha256 for item in page.items] == [named(name) for name in expected]
    assert (page.waiting, page.labelled, page.after) == (5, 1, "")
    assert page.items[0].votes == {"mid": 1, "low": 1}
    paged, after = [], ""
    for _ in range(3):
        page = next_clips(store, "me", 2, after)
        paged += [item.clip.sha256 for item in page.items]
        after = page.after
    assert paged == [named(name) for name in expected]
    for bad in ("x", "[1]", '[1,0.5,"a"]', '[1e999,0,"a"]', "[" * 190, '[null,1,"b"]'):
        with pytest.raises(ValueError, match="earlier answer"):
            next_clips(store, "me", 2, bad)


def test_a_person_is_shown_and_deleted_with_what_is_theirs_alone(
    store: Store, audio: AudioStore
) -> None:
    files = {name: keep_clip(store, audio, name) for name in ("hers", "both", "voice", "other")}
    say(store, "hers", "low", "anna-the-annotator")
    say(store, "both", "low", "anna-the-annotator")
    say(store, "both", "low", "bob")
    say(store, "voice", "low", "bob", speaker="anna-the-annotator")
    say(store, "other", "low", "bob")
    found = data_of(store, "anna-the-annotator")
    assert [row["sha256"] for row in found.feedback] == [
        named(n) for n in ("hers", "both", "voice")
    ]
    assert {clip["sha256"] for clip in found.clips} == {named(n) for n in ("hers", "both", "voice")}
    gone = delete_person(store, audio, "anna-the-annotator")
    assert (gone.rows, gone.clips) == (3, 2)
    assert {name for name, file in files.items() if file.exists()} == {"both", "other"}
    assert data_of(store, "anna-the-annotator").feedback == ()
    assert len(data_of(store, "bob").feedback) == 2
    assert delete_person(store, audio, "anna-the-annotator").rows == 0
    if store.place.path is not None:  # nothing of her is left in the bytes of the files
        for part in store.place.path.parent.glob("feedback.db*"):
            assert b"anna-the-annotator" not in part.read_bytes(), part


def test_age_and_room_take_recordings_without_a_label_first_and_labels_by_age_alone(
    store: Store, audio: AudioStore
) -> None:
    files = {name: keep_clip(store, audio, name) for name in ("aaaa", "bbbb", "cccc", "dddd")}
    say(store, "bbbb", "low", "anna")
    made_older(store, {"aaaa": 40, "bbbb": 9, "cccc": 8, "dddd": 1})
    swept = sweep(store, audio, Retention(30, 0))
    assert (swept.expired, swept.labels) == (1, 0)
    assert sweep(store, audio, Retention(30, 8)).crowded_out == 1
    assert {name for name, file in files.items() if file.exists()} == {"bbbb", "dddd"}
    sweep(store, audio, Retention(0, 4))
    assert {name for name, file in files.items() if file.exists()} == {"bbbb"}
    assert not sweep(store, audio, Retention(0, 0))
    with store.writing() as connection:
        connection.execute(update(feedback).values(created_at=days_ago(31)))
    swept = sweep(store, audio, Retention(30, 0))
    assert (swept.labels, resolved_labels(store)) == (1, [])
    with store.reading() as connection:
        assert held(connection) == (1, 4)


def days_ago(days: float) -> str:
    return stamp(datetime.now(UTC) - timedelta(days=days))


def made_older(store: Store, days: dict[str, float]) -> None:
    with store.writing() as connection:
        for name, age in days.items():
            older = update(clips).where(clips.c.sha256 == named(name))
            connection.execute(older.values(kept_at=days_ago(age)))


def test_a_snapshot_is_a_labels_csv_and_says_what_it_leaves_out(
    store: Store, audio: AudioStore, tmp_path: Path
) -> None:
    good, cut = keep_clip(store, audio, "good"), keep_clip(store, audio, "cut")
    keep_clip(store, audio, "tie")
    cut.write_bytes(b"cu")
    for name in ("good", "cut", "gone", "tie"):
        say(store, name, "low", "=anna()", speaker="theo")
    say(store, "tie", "mid", "bob")
    snapshot = write_snapshot(store, audio, tmp_path / "snapshot")
    assert snapshot.clips == 1
    assert snapshot.reasons == {DISAGREEING: 1, NOT_KEPT: 1, MISSING: 1}
    [clip] = read_labels(snapshot.path).clips
    assert (clip.path, clip.label, clip.speaker) == (good, "low", "theo")
    assert "feedback,'=anna(),2" in snapshot.path.read_text()
    assert write_snapshot(store, audio, tmp_path / "snapshot").clips == 1  # replaced


def test_what_a_killed_process_leaves_is_mended_and_nothing_else_is_touched(
    store: Store, audio: AudioStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = keep_clip(store, audio, "kept"), keep_clip(store, audio, "lost")
    lost.unlink()
    stray = audio.path(named("stray"), "wav")
    audio.put(named("stray"), "wav", b"stray")
    foreign = stray.parent / "notes.wav"
    foreign.write_bytes(b"mine")
    assert mend(store, audio) == 0  # too young: somebody may be about to write its row
    monkeypatch.setattr("earful.service.feedback.audio_files.STRAY_SECONDS", -5)
    (audio.folder / ".earful-audio").rename(audio.folder / "away")
    assert mend(store, audio) == 0  # an empty place where a disk is mounted at other times
    (audio.folder / "away").rename(audio.folder / ".earful-audio")
    assert mend(store, audio) == 1
    assert (kept.exists(), stray.exists(), foreign.exists()) == (True, False, True)
    assert forget_missing(store, audio) == 1
    with store.reading() as connection:
        assert held(connection)[0] == 1


def test_files_are_for_their_owner_alone_and_a_folder_is_of_one_database(
    store: Store, audio: AudioStore
) -> None:
    file = keep_clip(store, audio, "mine")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(audio.folder.stat().st_mode) == 0o700
    with pytest.raises(FeedbackError, match="another database"):
        audio.prepare("another owner")
    for sha256, suffix in (("../" * 20 + "a" * 4, "wav"), ("a" * 64, "../x"), ("A" * 64, "wav")):
        with pytest.raises(ValueError, match="no name"):
            audio.path(sha256, suffix)
    if store.place.path is not None:
        assert stat.S_IMODE(store.place.path.stat().st_mode) == 0o600


def test_a_recording_that_cannot_be_written_leaves_no_row(store: Store, audio: AudioStore) -> None:
    (audio.folder / named("x")[:2]).write_bytes(b"in the way")
    with pytest.raises(StoreUnavailable):
        keep_clip(store, audio, "x")
    with store.reading() as connection:
        assert held(connection) == (0, 0)


def test_a_locked_or_absent_file_is_told_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earful.service.feedback.sqlite.BUSY_SECONDS", 0.05)
    path = tmp_path / "f.db"
    store = open_store(Place.parse(f"sqlite:///{path}"))
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        say(store, "a", "low", "anna")
    other.rollback()
    other.close()
    say(store, "a", "low", "anna")
    path.rename(tmp_path / "moved.db")
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        say(store, "b", "low", "anna")
    store.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://me:secret@host/db", "of the kind 'mysql'"),
        ("sqlite://", "names a file"),
        ("sqlite:///:memory:", "names a file"),
        ("sqlite:///a.db?mode=ro", "names a file"),
        ("postgresql://me:sec@ret@127.0.0.1/db", "%40"),
        ("postgresql://me:secret@127.0.0.1:x/db", "cannot be read"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "cannot use"),
        ("secret", "no URL"),
        ("sqlite:////proc/none/f.db", "cannot write"),
    ],
)
def test_a_place_that_cannot_be_used_is_told_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(FeedbackError, match=reason) as refused:
        open_store(Place.parse(url))
    assert not {"secret", "sec", "ret@127.0.0.1"} & set(
        str(refused.value).replace(":", " ").split()
    )
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_told_and_left(tmp_path: Path) -> None:
    path = tmp_path / "f.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(FeedbackError, match="cannot be read"):
        open_store(Place.parse(f"sqlite:///{path}"))
    assert path.read_bytes() == b"not a database" * 100
    with pytest.raises(FeedbackError, match="no file"):
        open_store(Place.parse(f"sqlite:///{tmp_path}"))
