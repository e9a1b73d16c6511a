"""The micro-batcher with a real model: equal results, bounded, fair, and failures stay alone."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from earful.data.audio.decode import AudioError, AudioLimits
from earful.service.classifier import Classifier, InferenceError, Prediction
from earful.service.core.errors import RequestError
from earful.service.core.metrics import ServiceMetrics
from earful.service.inference import background_windows
from earful.service.inference.job_queue import InferenceOutcome
from earful.service.inference.micro_batcher import MicroBatcher
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, tone, wav

LIMITS = AudioLimits(max_seconds=600)
LABELS = list(PITCHES_HZ)


@asynccontextmanager
async def running_batcher(max_queue: int = 1000) -> AsyncIterator[MicroBatcher]:
    batcher = MicroBatcher(LIMITS, max_queue, ServiceMetrics())
    batcher.start()
    yield batcher
    await batcher.stop()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def deadline_in(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def label(answer: InferenceOutcome) -> str:
    assert isinstance(answer, Prediction), answer
    return answer.label


def test_batched_predictions_equal_single_ones(classifier: Classifier) -> None:
    sounds = [tone(LABELS[n % 3], 0.2 + 0.01 * n) for n in range(50)]
    alone = [classifier.classify([sound])[0] for sound in sounds]

    async def test() -> None:
        async with running_batcher() as batcher:
            answers = await asyncio.gather(
                *(batcher.submit([sound], classifier, deadline_in()) for sound in sounds)
            )
        for [answer], expected in zip(answers, alone, strict=True):
            assert isinstance(answer, Prediction)
            np.testing.assert_allclose(answer.best.scores, expected.best.scores, atol=1e-6)
            assert answer.windows[0].end_seconds == expected.windows[0].end_seconds

    run(test)


@pytest.mark.slow
def test_long_recording_gets_all_windows_without_blocking_others(classifier: Classifier) -> None:
    long = noise(300, 0.1)
    expected = classifier.classify([long])[0]

    async def test() -> None:
        async with running_batcher() as batcher:
            order: list[str] = []

            async def ask(name: str, sound: Any) -> InferenceOutcome:
                [answer] = await batcher.submit([sound], classifier, deadline_in())
                order.append(name)
                return answer

            slow = asyncio.create_task(ask("long", long))
            await asyncio.sleep(0.02)
            await asyncio.gather(*(ask("short", tone("mid")) for _ in range(5)))
            answer = await slow
        assert order == ["short"] * 5 + ["long"]
        assert isinstance(answer, Prediction)
        assert len(answer.windows) == len(expected.windows)
        np.testing.assert_allclose(
            np.stack([window.scores for window in answer.windows]),
            np.stack([window.scores for window in expected.windows]),
            atol=1e-6,
        )

    run(test)


def test_queue_overflow_is_refused_and_the_rest_completes(
    classifier: Classifier,
) -> None:
    async def test() -> None:
        async with running_batcher(max_queue=8) as batcher:
            answers = await asyncio.gather(
                *(batcher.submit([tone("low")], classifier, deadline_in()) for _ in range(10)),
                return_exceptions=True,
            )
            refused = [a for a in answers if isinstance(a, RequestError)]
            assert [error.code for error in refused] == ["queue_full"] * 2
            assert int(refused[0].headers["Retry-After"]) >= 1
            assert [label(a[0]) for a in answers if isinstance(a, list)] == ["low"] * 8
            assert batcher.depth == 0

    run(test)


def test_expired_requests_time_out_without_being_computed(
    classifier: Classifier,
) -> None:
    async def test() -> None:
        async with running_batcher() as batcher:
            with pytest.raises(RequestError) as refused:
                await batcher.submit([noise(500, 0.1)], classifier, deadline_in(0.01))
            assert refused.value.code == "deadline_passed"
            assert batcher.depth == 0
            [answer] = await batcher.submit([tone("high")], classifier, deadline_in())
            assert label(answer) == "high"

    run(test)


def test_work_of_a_disconnected_client_is_dropped(classifier: Classifier) -> None:
    async def test() -> None:
        async with running_batcher() as batcher:

            async def disconnected() -> None:
                return

            with pytest.raises(RequestError) as refused:
                await batcher.submit([noise(500, 0.1)], classifier, deadline_in(), disconnected)
            assert refused.value.code == "client_disconnected"
            assert batcher.depth == 0

    run(test)


def test_stopping_completes_queued_work_and_refuses_new_work(classifier: Classifier) -> None:
    async def test() -> None:
        async with running_batcher() as batcher:
            pending = [
                asyncio.create_task(batcher.submit([source], classifier, deadline_in()))
                for source in [tone("mid"), flac_tone("mid")] * 20
            ]
            await asyncio.sleep(0)
        assert [label(answer) for [answer] in await asyncio.gather(*pending)] == ["mid"] * 40
        with pytest.raises(RequestError) as refused:
            await batcher.submit([tone("mid")], classifier, deadline_in())
        assert refused.value.code == "draining"

    run(test)


def test_internal_error_fails_one_file_and_the_thread_survives(
    classifier: Classifier,
) -> None:
    async def test() -> None:
        async with running_batcher() as batcher:
            invalid = np.zeros((2, 2, 2), np.float32)  # decoding never returns three axes
            answers = await batcher.submit([invalid], classifier, deadline_in())
            assert isinstance(answers[0], RequestError)
            [answer] = await batcher.submit([tone("low")], classifier, deadline_in())
            assert label(answer) == "low"
            assert batcher.alive

    run(test)


def test_files_of_all_kinds_keep_their_order(classifier: Classifier) -> None:
    flac = flac_tone("low")
    sources = [wav(tone("high")), flac, b"nonsense", tone("mid"), wav(tone("low"))[:-50], flac]

    async def test() -> None:
        async with running_batcher() as batcher:
            answers = await batcher.submit(sources, classifier, deadline_in())
        kinds = [a.code if isinstance(a, AudioError | RequestError) else a.label for a in answers]
        assert kinds == ["high", "low", "unsupported_format", "mid", "truncated", "low"]

    run(test)


def flac_tone(name: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(name), 8_000, format="FLAC")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def failing_classifier(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The same model, but its graph fails on a batch with a sample above 0.9."""
    proto = onnx.load(model)
    graph = proto.graph
    for node in graph.node:
        for n, name in enumerate(node.output):
            if name == "probabilities":
                node.output[n] = "plain"
    one = helper.make_tensor("failing_one", TensorProto.FLOAT, [1], [1.0])
    limit = helper.make_tensor("failing_limit", TensorProto.FLOAT, [], [0.9])
    graph.initializer.extend([one, limit])
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["waveform"], ["failing_peak"], keepdims=0),
            helper.make_node("Greater", ["failing_peak", "failing_limit"], ["failing_loud"]),
            helper.make_node("Cast", ["failing_loud"], ["failing_index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["failing_one", "failing_index"], ["failing_factor"]),
            helper.make_node("Mul", ["plain", "failing_factor"], ["probabilities"]),
        ]
    )
    path = tmp_path_factory.mktemp("failing") / "failing.onnx"
    onnx.save(proto, path)
    return Classifier.open(path)


def test_failing_input_does_not_fail_its_batch(failing_classifier: Classifier) -> None:
    sounds = [tone("mid", level=0.3) for _ in range(6)]
    sounds[2] = np.full(4000, 0.95, np.float32)

    async def test() -> None:
        async with running_batcher() as batcher:
            answers = await batcher.submit(sounds, failing_classifier, deadline_in())
        refused = answers.pop(2)
        assert isinstance(refused, RequestError)
        assert refused.code == "inference_failed"
        assert [label(answer) for answer in answers] == ["mid"] * 5

    run(test)


def test_background_windows_get_the_scores_of_the_model(classifier: Classifier) -> None:
    windows = [(noise(3, 0.1, n), 100 * n) for n in range(40)]

    async def test() -> None:
        async with running_batcher() as batcher:
            runs = [
                asyncio.to_thread(batcher.background.run, classifier, no_check, windows)
                for _ in range(2)
            ]
            for scores in await asyncio.gather(*runs):
                np.testing.assert_allclose(scores, classifier.predict_windows(windows), atol=1e-6)

    run(test)


@pytest.mark.slow
def test_files_do_not_wait_for_background_windows_and_those_still_end(
    classifier: Classifier,
) -> None:
    windows = [(noise(1, 0.1, n), 0) for n in range(6400)]

    async def test() -> None:
        async with running_batcher() as batcher:
            background = asyncio.create_task(
                asyncio.to_thread(batcher.background.run, classifier, no_check, windows)
            )
            [answer] = await batcher.submit([tone("mid")], classifier, deadline_in())
            assert label(answer) == "mid"
            assert not background.done()
            assert batcher.depth == 0  # windows take no place in the queue of files
            # Several, so that there is always a file that waits.
            loads = [asyncio.create_task(submit_forever(batcher, classifier)) for _ in range(3)]
            await asyncio.to_thread(batcher.background.run, classifier, no_check, windows[:2])
            for load in loads:
                load.cancel()
            await background

    run(test)


async def submit_forever(batcher: MicroBatcher, classifier: Classifier) -> None:
    while True:
        await batcher.submit([noise(5, 0.1)] * 20, classifier, deadline_in())


def no_check() -> None:
    """Wait for ever."""


class Left(Exception):  # noqa: N818 - not an error
    """The caller does not want to wait."""


def leave() -> None:
    raise Left


def test_background_windows_of_a_caller_that_leaves_are_dropped(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_windows, "CHECK_SECONDS", 0.0)
    windows = [(noise(1, 0.1, n), 0) for n in range(3200)]

    async def test() -> None:
        async with running_batcher() as batcher:
            with pytest.raises(Left):
                await asyncio.to_thread(batcher.background.run, classifier, leave, windows)
            await asyncio.to_thread(batcher.background.run, classifier, no_check, windows[:1])
            assert len(batcher.background) == 0

    run(test)


def test_model_that_fails_on_background_windows_fails_only_these(
    classifier: Classifier,
) -> None:
    broken = [(np.full(classifier.clip_samples, np.nan, np.float32), 0)]

    async def test() -> None:
        async with running_batcher() as batcher:
            score = partial(asyncio.to_thread, batcher.background.run, classifier, no_check)
            with pytest.raises(InferenceError, match="not finite"):
                await score(broken)
            assert (await score([(tone("low"), 0)])).shape == (1, 3)

    run(test)
