"""One reader of bodies, whatever its chunks and wherever the files go."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Request

from earful.service.core.arriving_file import ArrivingFile
from earful.service.core.errors import RequestError
from earful.service.core.settings import SPOOL_BYTES, Settings
from earful.service.core.spooled_file import SpooledFile
from earful.service.http.request_body import RequestBody
from earful.service.http.upload_budget import UploadBudget

pytestmark = pytest.mark.anyio

RANDOM = np.random.default_rng(0)
FILES = {
    "empty.wav": b"",
    "small.wav": RANDOM.bytes(5_000),
    "large.wav": RANDOM.bytes(5 * SPOOL_BYTES // 2),
    "line ends.wav": b"\r\n--x\r\n--" * 2_000,
    "übung.wav": RANDOM.bytes(SPOOL_BYTES),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def form() -> bytes:
    head = b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n'
    parts = [head % (name.encode(), content) for name, content in FILES.items()]
    return b"".join([*parts, b"--x-y--\r\n"])


class Kept:
    """A sink that takes all bytes, and counts the most that were in memory."""

    store_all = True

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.most_in_memory = 0

    async def write(self, file: ArrivingFile) -> None:
        self.most_in_memory = max(self.most_in_memory, len(file.buffer))
        self.contents[file.name] = self.contents.get(file.name, b"") + file.take()


async def in_chunks(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def open_body(
    chunks: AsyncIterator[bytes],
    content_type: str = "multipart/form-data; boundary=x-y",
    seconds: float = 60.0,
    **settings: Any,
) -> tuple[RequestBody, UploadBudget]:
    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request"}

    limits = Settings(model=Path("unused.onnx"), **settings)
    budget = UploadBudget(limits)
    scope = {"type": "http", "headers": [(b"content-type", content_type.encode())]}
    deadline = time.monotonic() + seconds
    return RequestBody(Request(scope, receive), limits, budget, deadline), budget


@pytest.mark.parametrize("chunk_bytes", [997, 65_536, 1 << 24])
async def test_files_are_the_same_in_memory_on_disk_and_from_any_chunks(chunk_bytes: int) -> None:
    body, budget = open_body(in_chunks(form(), chunk_bytes))
    with body:
        contents = {
            name: content.read() if isinstance(content, SpooledFile) else content
            for name, content in await body.read_upload()
        }
        assert (budget.files_spooled, budget.bytes_spooled) == (1, len(FILES["large.wav"]))
    assert contents == FILES
    assert (budget.bytes_held, budget.bytes_spooled, budget.files_spooled) == (0, 0, 0)


@pytest.mark.parametrize("chunk_bytes", [997, 65_536])
async def test_sink_gets_each_file_before_the_body_ends(chunk_bytes: int) -> None:
    body, budget = open_body(in_chunks(form(), chunk_bytes))
    sink = Kept()
    with body:
        files = await body.write_to(sink, 1 << 30, 1 << 30)
        assert budget.bytes_held == len(form()) - sum(map(len, FILES.values()))
    assert sink.contents == FILES
    assert [file.n_stored for file in files] == [len(content) for content in FILES.values()]
    assert SPOOL_BYTES < sink.most_in_memory <= SPOOL_BYTES + chunk_bytes
    assert budget.bytes_held == 0


async def large_then_late() -> AsyncIterator[bytes]:
    yield bytes(2 * SPOOL_BYTES)
    await asyncio.sleep(0.6)
    yield b"late"


@pytest.mark.parametrize(
    ("limits", "is_accepted"),
    [
        ({"min_upload_bytes_per_second": 10_000}, True),
        ({"min_upload_bytes_per_second": 1_000_000_000}, False),
        ({"min_upload_bytes_per_second": 10_000, "deadline_seconds": 0.1}, False),  # of a piece
    ],
)
async def test_large_body_has_time_for_its_size(limits: dict[str, Any], is_accepted: bool) -> None:
    for store in ("memory and temporary files", "sink"):
        body, _ = open_body(large_then_late(), "audio/wav", 0.3, **limits)
        with body:
            read = (
                body.read_upload() if store != "sink" else body.write_to(Kept(), 1 << 30, 1 << 30)
            )
            if is_accepted:
                assert len(await read) == 1
            else:
                with pytest.raises(RequestError, match="did not arrive") as refused:
                    await read
                assert refused.value.code == "too_slow"


async def test_small_body_has_no_more_time() -> None:
    async def late() -> AsyncIterator[bytes]:
        yield bytes(SPOOL_BYTES // 2)
        await asyncio.sleep(0.6)

    body, _ = open_body(late(), "audio/wav", 0.3, min_upload_bytes_per_second=1)
    with body, pytest.raises(RequestError) as refused:
        await body.read_upload()
    assert refused.value.code == "too_slow"
