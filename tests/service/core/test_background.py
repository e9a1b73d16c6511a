"""Threads and tasks that repeat a step go on after every kind of end but ``stop``."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from earful.service.core import background
from earful.service.core.background import (
    MAX_BACKOFF_SECONDS,
    BackgroundHealth,
    BackgroundTask,
    BackgroundThread,
)
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import LOGGER, JsonFormatter

FAILED = 'earful_background_failures_total{task="test"}'
FAILING = 'earful_background_failing{task="test"}'


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("no disk"), SystemExit(1)])
def test_a_thread_goes_on_after_errors(error: BaseException, metrics: ServiceMetrics) -> None:
    calls, recovered, enough = [], [], threading.Event()

    def step(_: BackgroundThread) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise error
        enough.set()
        return False

    thread = BackgroundThread("test", step, metrics, 0.01, recover=lambda: recovered.append(1))
    thread.start()
    assert enough.wait(30)
    thread.stop()
    thread.join()
    assert recovered == [1]
    assert value(metrics, FAILED) == 1
    assert value(metrics, FAILING) == 0


class UnhurriedThread(BackgroundThread):
    """Notes how long it would wait, and does not."""

    waits: list[float]

    def back_off(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_a_thread_waits_also_when_it_cannot_recover(metrics: ServiceMetrics) -> None:
    errors = [ValueError("step"), OSError("recover"), OSError("recover again")]
    enough = threading.Event()

    def recover() -> None:
        if errors:
            raise errors.pop(0)

    def step(thread: BackgroundThread) -> bool:
        recover()
        enough.set()
        thread.stop()
        return False

    thread = UnhurriedThread("test", step, metrics, recover=recover)
    thread.waits = []
    thread.start()
    assert enough.wait(30)
    thread.join()
    assert thread.waits == [0.25, 0.5, 1.0]
    assert value(metrics, FAILED) == 3


@pytest.mark.timeout(60)
def test_a_thread_that_finishes_waits_no_more(metrics: ServiceMetrics) -> None:
    work = list(range(20))  # with the back-off it would take a minute and a half

    def step(thread: BackgroundThread) -> bool:
        if not work:
            thread.stop()
            return False
        raise OSError(f"no {work.pop()}")

    thread = BackgroundThread("test", step, metrics)
    thread.start()
    thread.finish()
    thread.join()
    assert not work


def test_a_step_that_has_more_to_do_is_repeated_at_once(metrics: ServiceMetrics) -> None:
    calls, enough = [], threading.Event()

    def step(_: BackgroundThread) -> bool:
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        return len(calls) < 3

    thread = BackgroundThread("test", step, metrics, 3600)
    thread.start()
    assert enough.wait(30)
    thread.stop()
    thread.join()
    assert len(calls) == 3


@pytest.mark.slow
def test_a_task_goes_on_after_errors_and_after_a_cancellation(metrics: ServiceMetrics) -> None:
    calls = []

    async def step() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("of a bug")

    async def test() -> None:
        task = BackgroundTask("test", step, metrics, 0.01)
        task.start()
        await wait_until(lambda: len(calls) >= 2)
        [running] = [t for t in asyncio.all_tasks() if t.get_name() == "test"]
        running.cancel()
        await wait_until(lambda: value(metrics, FAILED) == 2)
        await wait_until(lambda: task.health.reason is None)
        task.stop()
        n_calls = len(calls)
        await asyncio.sleep(0)
        assert not [t for t in asyncio.all_tasks() if t.get_name() == "test"]
        assert len(calls) == n_calls

    asyncio.run(test())


def test_a_step_that_hangs_is_reported_until_it_ends(
    metrics: ServiceMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "HANGING_SECONDS", 0.01)

    async def test() -> None:
        answers = asyncio.Event()

        async def step() -> None:
            await answers.wait()

        task = BackgroundTask("test", step, metrics, 0.0)
        task.start()
        await wait_until(lambda: task.health.reason == "no end within 0.01 s")
        assert value(metrics, FAILING) == 1
        answers.set()
        await wait_until(lambda: task.health.reason is None)
        task.stop()

    asyncio.run(test())


def test_a_call_that_never_returns_does_not_keep_the_process() -> None:
    script = """
import asyncio, threading
from earful.service.core.background import call_in_daemon_thread

async def test():
    assert await call_in_daemon_thread(lambda: 3) == 3
    hanging = asyncio.ensure_future(call_in_daemon_thread(threading.Event().wait))
    await asyncio.sleep(0)
    hanging.cancel()
    try:
        await call_in_daemon_thread(lambda: 1 / 0)
    except ZeroDivisionError:
        print("raised")

asyncio.run(test())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert (ended.stdout, ended.stderr) == ("raised\n", "")


def test_an_error_that_lasts_is_counted_each_time_and_logged_once(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    LOGGER.propagate = True  # a server, which another test may have built, turns it off
    health = BackgroundHealth("test", metrics)
    with caplog.at_level(logging.INFO, "earful"):
        for _ in range(40):
            try:
                raise ValueError("garbage")
            except ValueError as error:
                health.failed(error)
        assert value(metrics, FAILED) == 40
        assert value(metrics, FAILING) == 1
        assert health.wait_seconds(60) == MAX_BACKOFF_SECONDS < 10
        health.succeeded()
    assert value(metrics, FAILING) == 0
    assert health.wait_seconds(60) == 60
    failed, recovered = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert (failed["event"], failed["task"]) == ("background_task_failed", "test")
    assert "ValueError: garbage" in failed["traceback"]
    assert recovered["event"] == "background_task_recovered"


def value(metrics: ServiceMetrics, series: str) -> float:
    [line] = [x for x in metrics.text().decode().splitlines() if x.startswith(series + " ")]
    return float(line.rsplit(" ", 1)[1])


async def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
