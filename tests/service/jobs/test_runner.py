"""The runner alone: files that end workers, failing models, errors of its thread."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioLimits, Waveform
from earful.service.classifier import Classifier, InferenceError
from earful.service.core.background import BackgroundThread
from earful.service.core.metrics import ServiceMetrics
from earful.service.feedback.database import FeedbackDatabase
from earful.service.inference.hot_reload import LoadedModel
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.leases import begin_file, begin_measuring, claim_job
from earful.service.jobs.records import JobView
from earful.service.jobs.runner import MAX_ATTEMPTS, JobRunner
from earful.service.jobs.runner_context import RunnerContext
from tests.fixtures.synthetic_audio import tone, wav
from tests.service.jobs.test_store import add_job, ago, claim, set_columns, view

HOUR = timedelta(hours=1)


def scored(
    classifier: Classifier, check: Callable[[], None], windows: Sequence[tuple[Waveform, int]]
) -> NDArray[np.float32]:
    return classifier.predict_windows(windows)


def failing(
    classifier: Classifier, check: Callable[[], None], windows: Sequence[tuple[Waveform, int]]
) -> NDArray[np.float32]:
    raise InferenceError("scores are not finite")


def run_one(
    database: FeedbackDatabase, folder: JobFolder, classifier: Classifier, score: Any = scored
) -> JobView:
    """Run the job ``job`` to its end."""
    context = RunnerContext(
        folder=folder,
        database=lambda: database,
        loaded_model=lambda: LoadedModel(classifier, {"name": "tones", "version": "1"}),
        score_windows=score,
        is_busy=lambda: False,
        is_draining=lambda: False,
        audio_limits=AudioLimits(),
        retention=HOUR,
        metrics=ServiceMetrics(),
    )
    thread = BackgroundThread("jobs_run", lambda _: False, ServiceMetrics(), 1.0)
    assert JobRunner(context, thread).run_next() is True
    assert claim_job(database, folder.identity) is None
    return view(database, "job")


def write_uploads(folder: JobFolder, *contents: bytes) -> None:
    for position, content in enumerate(contents):
        folder.path("job", position).write_bytes(content)


def test_file_that_ends_workers_is_given_up_and_the_others_are_answered(
    database: FeedbackDatabase, folder: JobFolder, classifier: Classifier
) -> None:
    add_job(database, folder, "job", n_files=2)
    write_uploads(folder, wav(tone("low")), wav(tone("mid")))
    for _ in range(MAX_ATTEMPTS):
        begin_file(database, claim(database, folder), 0, "{}")
        set_columns(database, "job", lease_until=ago(seconds=1))
    bad, good = run_one(database, folder, classifier).files
    assert (bad.state, bad.error_code) == ("failed", "decoder_crashed")
    assert (good.state, good.label) == ("done", "mid")


def test_file_that_ends_workers_when_it_is_opened_is_found(
    database: FeedbackDatabase, folder: JobFolder, classifier: Classifier
) -> None:
    add_job(database, folder, "job", n_files=2)
    write_uploads(folder, wav(tone("low")), wav(tone("mid")))
    begin_measuring(database, claim(database, folder), [0, 1])
    set_columns(database, "job", lease_until=ago(seconds=1))
    # From now on each file is opened in its turn, so that the attempts of the bad one count.
    begin_file(database, claim(database, folder), 0, "{}")
    set_columns(database, "job", lease_until=ago(seconds=1))
    begin_file(database, claim(database, folder), 0, "{}")
    set_columns(database, "job", lease_until=ago(seconds=1))
    bad, good = run_one(database, folder, classifier).files
    assert (bad.error_code, good.label) == ("decoder_crashed", "mid")


def test_failing_model_is_the_error_of_the_file(
    database: FeedbackDatabase, folder: JobFolder, classifier: Classifier
) -> None:
    add_job(database, folder, "job")
    write_uploads(folder, wav(tone("low")))
    [file] = run_one(database, folder, classifier, failing).files
    assert (file.state, file.error_code) == ("failed", "inference_failed")


def test_upload_that_is_missing_is_the_error_of_the_file(
    database: FeedbackDatabase, folder: JobFolder, classifier: Classifier
) -> None:
    add_job(database, folder, "job")
    folder.remove_file("job", 0)
    [file] = run_one(database, folder, classifier).files
    assert (file.state, file.error_code) == ("failed", "not_found")
