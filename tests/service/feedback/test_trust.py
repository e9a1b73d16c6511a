"""Whose labels count: trusted annotators, two voices, hostile labels, floods, older databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from earful.service.feedback.annotations import add_annotation
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase, open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.export import UNUSABLE, find_usable, labelled_clips
from earful.service.feedback.majority import ResolvedLabel, VoteRules, resolved_labels
from earful.service.feedback.prediction_ids import PredictionIds
from earful.service.feedback.privacy import export_subject_data
from earful.service.feedback.records import FeedbackAnnotation, TooManyLabels
from earful.service.feedback.tables import annotations_table, timestamp
from tests.service.feedback.conftest import annotate, save_clip, sha256_of_name

HOSTILE = ["x" * 10_000, "a\x1b[31m", "safe\u202eevil", "   ", "a\nb", "a|", "\u200b"]


def resolve(database: FeedbackDatabase, *trust: str) -> ResolvedLabel:
    [resolved] = resolved_labels(database, VoteRules(frozenset(trust)))
    return resolved


@pytest.mark.parametrize(
    ("voices", "trust", "is_trusted"),
    [
        ([("anna", "s1")], (), False),
        ([("anna", "s1"), ("bob", "s2")], (), True),
        ([("anna", "s1"), ("bob", "s1")], (), False),  # one sender with two names
        ([("anna", ""), ("bob", "")], (), False),  # of an older program: unknown
        ([("anna", "s1"), ("anna ", "s1"), ("ANNA", "s1")], (), False),
        ([("anna", "s1")], ("anna",), True),
        ([("anna", "s1")], ("bob",), False),
        ([("anna", "s1")], ("all",), True),
    ],
)
def test_two_senders_or_a_trusted_name_may_overrule(
    database: FeedbackDatabase,
    voices: list[tuple[str, str]],
    trust: tuple[str, ...],
    is_trusted: bool,
) -> None:
    for annotator, sender in voices:
        annotate(database, "a", "low", annotator, sender=sender)
    resolved = resolve(database, *trust)
    assert (resolved.label, resolved.is_trusted) == ("low", is_trusted)
    assert resolved.agreeing == tuple(annotator for annotator, _ in voices)


def test_invented_names_outvote_no_trusted_annotator(database: FeedbackDatabase) -> None:
    annotate(database, "a", "low", "anna", sender="s1")
    for n in range(5):
        annotate(database, "a", "high", f"sock{n}", sender="s2")
    crowd = resolve(database)
    assert (crowd.label, crowd.is_trusted) == ("high", False)
    trusted = resolve(database, "anna")
    assert (trusted.label, trusted.is_trusted, trusted.annotators) == ("low", True, ("anna",))


def test_the_name_of_everyone_is_nobodys_privilege(database: FeedbackDatabase) -> None:
    for annotator, label in (("anna", "low"), ("bob", "low"), ("all", "high")):
        annotate(database, "a", label, annotator, sender="s1")
    resolved = resolve(database, "all")
    assert (resolved.label, resolved.is_trusted) == ("low", True)


def test_hostile_labels_of_older_programs_are_left_out_and_counted(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    for n, label in enumerate(HOSTILE):
        save_clip(database, recording_store, f"h{n}")
        annotate(database, f"h{n}", label, "mallory")
    save_clip(database, recording_store, "good")
    annotate(database, "good", "low", "anna")
    annotate(database, "good", "x" * 10_000, "mallory")  # takes no part in the vote
    save_clip(database, recording_store, "rejected")
    annotate(database, "rejected", "_Unknown_", "anna")
    rules = VoteRules(known_labels=frozenset({"low", "high"}))
    usable, skipped = find_usable(database, recording_store, rules)
    assert [entry.sha256 for entry, _ in usable] == [sha256_of_name("good")]
    assert [entry.reason for entry in skipped] == [UNUSABLE] * (len(HOSTILE) + 2)
    assert all(len(entry.label) <= 500 and entry.label.isprintable() for entry in skipped)
    of_a_model_with_it = VoteRules(known_labels=frozenset({"low", "_Unknown_"}))
    assert len(find_usable(database, recording_store, of_a_model_with_it)[0]) == 2


def test_clips_to_retrain_with_name_who_agreed_and_what_is_left_out(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> None:
    path = save_clip(database, recording_store, "a")
    for label, annotator in (("low", "anna"), ("high", "eve"), ("low", "bob")):
        annotate(database, "a", label, annotator, sender=f"of {annotator}")
    save_clip(database, recording_store, "b")
    annotate(database, "b", "   ", "mallory")
    labelled = labelled_clips(database, recording_store, (), ("low", "high"))
    [clip] = labelled.clips
    assert (clip.path, clip.label, clip.may_overrule) == (path, "low", True)
    assert (clip.provenance.source, clip.provenance.annotator) == ("feedback", "anna, bob")
    assert labelled.notes == (f"1 labels of recordings left out: {UNUSABLE}",)


def give(database: FeedbackDatabase, number: int, sender: str, max_per_hour: int = 3) -> None:
    annotation = FeedbackAnnotation(sha256_of_name(str(number)), "low", "anna", sender=sender)
    with database.write_transaction("anna") as connection:
        add_annotation(connection, annotation, max_per_hour)


def test_a_flood_by_one_sender_is_refused_until_an_hour_has_passed(
    database: FeedbackDatabase,
) -> None:
    for number in range(3):
        give(database, number, "s1")
    with pytest.raises(TooManyLabels) as refused:
        give(database, 3, "s1")
    assert 0 < refused.value.retry_seconds <= 3_600
    give(database, 2, "s1")  # a repetition adds nothing
    give(database, 3, "s2")
    give(database, 4, "s1", max_per_hour=0)
    hour_ago = timestamp(datetime.now(UTC) - timedelta(hours=1, seconds=1))
    with database.write_transaction() as connection:
        connection.execute(update(annotations_table).values(created_at=hour_ago))
    give(database, 5, "s1")


def test_a_clock_that_was_set_back_locks_nobody_out(database: FeedbackDatabase) -> None:
    for number in range(3):
        give(database, number, "s1")
    tomorrow = timestamp(datetime.now(UTC) + timedelta(days=1))
    with database.write_transaction() as connection:
        connection.execute(update(annotations_table).values(created_at=tomorrow))
    give(database, 3, "s1")


def test_a_database_of_the_version_before_gets_senders(url: str) -> None:
    address = DatabaseAddress.parse(url)
    database = open_database(address)
    annotate(database, "a", "low", "anna")
    with database.write_transaction() as connection:
        connection.execute(text("DROP INDEX ix_earful_annotations_sender"))
        connection.execute(text("ALTER TABLE earful_annotations DROP COLUMN sender"))
        version = "UPDATE earful_meta SET value = '2' WHERE name = 'schema_version'"
        connection.execute(text(version))
    database.close()
    for _ in range(2):  # the second finds nothing to do
        database = open_database(address)
        annotate(database, "a", "low", "bob", sender="s1")
        assert resolve(database).annotators == ("anna", "bob")
        database.close()


def test_senders_are_pseudonyms_and_in_no_export(database: FeedbackDatabase) -> None:
    ids, others = PredictionIds(b"k" * 32), PredictionIds(b"l" * 32)
    assert ids.pseudonym("10.0.0.1") == ids.pseudonym("10.0.0.1") != ids.pseudonym("10.0.0.2")
    assert ids.pseudonym("10.0.0.1") != others.pseudonym("10.0.0.1")
    annotate(database, "a", "low", "anna", sender=ids.pseudonym("10.0.0.1"))
    [row] = export_subject_data(database, "anna").annotations
    assert "sender" not in row
