"""The queue in the database: leases, expiry, what is left of ended workers. SQLite, PostgreSQL."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import timestamp
from earful.service.jobs.cleaning import clean_jobs
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.leases import (
    begin_file,
    claim_job,
    finish_file,
    finish_job,
    release_job,
    write_progress,
)
from earful.service.jobs.records import (
    ClaimedJob,
    FileOutcome,
    JobLimits,
    JobLost,
    JobsError,
    JobsFull,
    JobUpload,
    JobView,
)
from earful.service.jobs.submission import (
    begin_upload,
    delete_job,
    find_job,
    finish_upload,
    grow_upload,
)
from earful.service.jobs.tables import create_job_tables, jobs_table

HOUR = timedelta(hours=1)
LIMITS = JobLimits(max_jobs=10, max_bytes=1_000, retention=HOUR)
EVENT = '{"start":0.1,"end":0.5,"label":"mid","score":0.9}'


def add_job(database: FeedbackDatabase, folder: JobFolder, job_id: str, n_files: int = 1) -> None:
    """A waiting job with files of 100 bytes."""
    begin_upload(database, job_id, "", folder.identity, 100 * n_files, LIMITS)
    folder.incoming(job_id).mkdir()
    for n in range(n_files):
        (folder.incoming(job_id) / str(n)).write_bytes(bytes(100))
    folder.complete(job_id)
    finish_upload(database, job_id, [JobUpload(f"{n}.wav", 100) for n in range(n_files)], LIMITS)


def claim(database: FeedbackDatabase, folder: JobFolder) -> ClaimedJob:
    job = claim_job(database, folder.identity)
    assert job is not None
    return job


def view(database: FeedbackDatabase, job_id: str) -> JobView:
    job = find_job(database, job_id, "")
    assert job is not None
    return job


def set_columns(database: FeedbackDatabase, job_id: str, **values: str) -> None:
    with database.write_transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(**values))


def ids(database: FeedbackDatabase) -> set[str]:
    with database.read_transaction() as connection:
        return set(connection.scalars(select(jobs_table.c.id)))


def ago(**duration: float) -> str:
    return timestamp(datetime.now(UTC) - timedelta(**duration))


def test_each_job_is_claimed_once_by_many_workers(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    for n in range(6):
        add_job(database, folder, f"job{n}")
    ready = threading.Barrier(4)

    def work() -> list[str]:
        ready.wait()
        claimed = []
        while (job := claim_job(database, folder.identity)) is not None:
            claimed.append(job.id)
        return claimed

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        claimed = [job_id for worker in workers for job_id in worker.result()]
    assert sorted(claimed) == [f"job{n}" for n in range(6)]


def test_job_of_another_folder_is_not_claimed(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    add_job(database, folder, "job")
    assert claim_job(database, "another folder") is None
    assert claim_job(database, folder.identity) is not None


def test_lapsed_lease_is_taken_over_and_the_first_worker_writes_nothing_more(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    add_job(database, folder, "job", n_files=2)
    first = claim(database, folder)
    assert begin_file(database, first, 0, "{}") == 1
    finish_file(database, first, 0, FileOutcome(1.0), 0, EVENT)
    assert begin_file(database, first, 1, "{}") == 1
    write_progress(database, first, 1, 5.0, 0, EVENT)
    assert claim_job(database, folder.identity) is None
    set_columns(database, "job", lease_until=ago(seconds=1))
    second = claim(database, folder)
    assert [file.position for file in second.files] == [1]
    done, restarted = view(database, "job").files
    assert (done.state, done.events) == ("done", (EVENT,))
    assert (restarted.state, restarted.seconds_done, restarted.events) == ("waiting", 0.0, ())
    with pytest.raises(JobLost):
        write_progress(database, first, 1, 9.0, 1, EVENT)
    with pytest.raises(JobLost):
        finish_file(database, first, 1, FileOutcome(9.0))
    with pytest.raises(JobLost):
        finish_job(database, first, HOUR)
    assert begin_file(database, second, 1, "{}") == 2


def test_a_job_does_not_wait_for_a_clock_that_was_set_back(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    add_job(database, folder, "job")
    first = claim(database, folder)
    set_columns(database, "job", lease_until=ago(hours=-5))  # given when the clock was ahead
    second = claim(database, folder)
    with pytest.raises(JobLost):
        begin_file(database, first, 0, "{}")
    assert begin_file(database, second, 0, "{}") == 1


def test_job_that_is_given_back_is_claimed_at_once_and_not_counted_as_an_attempt(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    add_job(database, folder, "job")
    for _ in range(5):
        job = claim(database, folder)
        assert begin_file(database, job, 0, "{}") == 1
        release_job(database, job, 0)
    assert view(database, "job").state == "waiting"


def test_state_of_a_job_whose_files_all_failed(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    add_job(database, folder, "job", n_files=2)
    job = claim(database, folder)
    for position in range(2):
        error = FileOutcome(error_code="truncated", error_message="cut")
        finish_file(database, job, position, error)
    assert finish_job(database, job, HOUR) == "failed"
    assert view(database, "job").files[0].error_code == "truncated"


def test_finished_files_make_room_for_uploads(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    add_job(database, folder, "job", n_files=9)
    with pytest.raises(JobsFull):
        begin_upload(database, "more", "", folder.identity, 200, LIMITS)
    job = claim(database, folder)
    finish_file(database, job, 0, FileOutcome(1.0))
    finish_file(database, job, 0, FileOutcome(1.0))  # again, after a lost connection
    begin_upload(database, "more", "", folder.identity, 200, LIMITS)
    with pytest.raises(JobsFull):
        grow_upload(database, "more", folder.identity, 1, LIMITS)
    # Another folder has another disk.
    begin_upload(database, "elsewhere", "", "another folder", 900, LIMITS)


def test_expired_jobs_are_not_shown_and_then_deleted(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    for job_id in ("kept", "old", "running"):
        add_job(database, folder, job_id)
        set_columns(database, job_id, created_at=ago(hours=2))
    set_columns(database, "running", created_at=ago(hours=3))
    running = claim(database, folder)
    assert running.id == "running"
    for job_id in ("old", "running"):
        set_columns(database, job_id, expires_at=ago(seconds=1))
    assert find_job(database, "old", "") is None
    assert view(database, "running").state == "running"
    assert clean_jobs(database, folder, HOUR) == 1
    assert ids(database) == {"kept", "running"}
    assert {job_id for job_id, _ in folder.jobs()} == {"kept", "running"}


def test_upload_whose_worker_has_ended_is_deleted(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    begin_upload(database, "upload", "", folder.identity, 900, LIMITS)
    folder.incoming("upload").mkdir()
    (folder.incoming("upload") / "0").write_bytes(bytes(100))
    assert clean_jobs(database, folder, HOUR) == 0
    assert folder.incoming("upload").exists()
    set_columns(database, "upload", lease_until=ago(seconds=1))
    assert clean_jobs(database, folder, HOUR) == 0
    assert (ids(database), folder.has_uploads()) == (set(), False)
    with pytest.raises(JobLost):
        finish_upload(database, "upload", [JobUpload("a", 100)], LIMITS)


def test_upload_is_invisible_until_it_is_complete(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    begin_upload(database, "job", "", folder.identity, 100, LIMITS)
    assert find_job(database, "job", "") is None
    assert delete_job(database, "job", "") is None
    assert claim_job(database, folder.identity) is None


def test_deleted_job_of_a_folder_that_is_gone_is_forgotten(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    begin_upload(database, "job", "", "a machine that is gone", 100, LIMITS)
    finish_upload(database, "job", [JobUpload("a", 100)], LIMITS)
    assert delete_job(database, "job", "") is True
    clean_jobs(database, folder, HOUR)
    assert ids(database) == {"job"}
    set_columns(database, "job", expires_at=ago(hours=2))
    clean_jobs(database, folder, HOUR)
    assert ids(database) == set()


def test_files_without_a_job_are_removed_when_they_are_old(
    database: FeedbackDatabase, folder: JobFolder
) -> None:
    orphan = folder.incoming("orphan")
    orphan.mkdir()
    clean_jobs(database, folder, HOUR)
    assert orphan.exists()
    os.utime(orphan, (0, 0))
    clean_jobs(database, folder, HOUR)
    assert not orphan.exists()


def test_identity_of_a_folder_stays_the_same(folder: JobFolder) -> None:
    again = JobFolder(folder.root)
    again.prepare()
    assert again.identity == folder.identity
    assert len(folder.identity) == 32
    assert {path.name for path in folder.root.iterdir()} == {"id", "uploads"}


def test_tables_are_made_once_and_refused_in_another_version(database: FeedbackDatabase) -> None:
    create_job_tables(database)
    from earful.service.feedback.tables import meta

    with database.write_transaction() as connection:
        connection.execute(
            update(meta).where(meta.c.name == "jobs_schema_version").values(value="99")
        )
    with pytest.raises(JobsError, match="version '99'"):
        create_job_tables(database)
