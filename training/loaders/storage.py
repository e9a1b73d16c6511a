"""Clips where training reads them: on its device as a whole, or read from disk as they are wanted.

Both give the same numbers. What stays on disk is gathered from memory maps whose pages are given
back soon after, so that resident memory does not grow with a data set.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.audio.pcm import INT16_FULL_SCALE, as_float

IndexArray = NDArray[np.int64]
# Reading from the page cache costs a CPU little, so it holds no more than this as a whole.
MAX_IN_MEMORY_BYTES_CPU = 1 << 30
# Of what is free when an array is opened: training clips first, then those of validation; the rest
# is for activations.
MAX_IN_MEMORY_SHARE_CUDA = 0.4
# Clips on their way to a device, in pieces.
_CHUNK_BYTES = 64 << 20
# A clip that is touched may bring 2 MiB of its file along (a huge page of the system's cache), so
# that pages are given back after so many.
_ROWS_BEFORE_RELEASE = 128


class ClipArray(Protocol):
    """Clips (clips, ...) of which some can be taken."""

    def __len__(self) -> int: ...

    def gather(self, rows: Tensor) -> Tensor:
        """Those at positions (rows,), in their order, as float32 on the training device."""
        ...


@dataclass(frozen=True)
class ClipSource:
    """An array (clips, ...) on disk, float32 or int16, and the rows of it that are meant."""

    array: NDArray[Any]
    rows: IndexArray

    @property
    def nbytes(self) -> int:
        return len(self.rows) * self.array[:1].nbytes


@dataclass(frozen=True)
class InMemory:
    """All clips on the device, as they are on disk: integers take half the room."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, rows: Tensor) -> Tensor:
        return _to_float32(self.values[rows.to(self.values.device)])


class MemoryMapped:
    """Clips that stay in their files."""

    def __init__(self, sources: Sequence[ClipSource], device: torch.device) -> None:
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(source.rows) for source in sources])
        self._device = device

    def __len__(self) -> int:
        return int(self._ends[-1])

    def gather(self, rows: Tensor) -> Tensor:
        gathered = torch.from_numpy(_gather(self._sources, self._ends, rows.cpu().numpy()))
        return _to_float32(gathered.to(self._device))


def open_clips(sources: Sequence[ClipSource], device: torch.device) -> ClipArray:
    """The clips of all sources, one after the other, on the device where they fit."""
    nbytes = sum(source.nbytes for source in sources)
    if nbytes > in_memory_limit_bytes(device):
        return MemoryMapped(sources, device)
    ends = np.cumsum([len(source.rows) for source in sources])
    n_clips = int(ends[-1])
    shape = (n_clips, *sources[0].array.shape[1:])
    dtype = torch.from_numpy(np.empty(0, _common_dtype(sources))).dtype
    values = torch.empty(shape, dtype=dtype, device=device)
    step = max(1, n_clips * _CHUNK_BYTES // max(1, nbytes))
    for start in range(0, n_clips, step):
        rows = np.arange(start, min(start + step, n_clips))
        values[start : start + step] = torch.from_numpy(_gather(sources, ends, rows))
    return InMemory(values)


def read_sequentially(source: ClipSource, batch_size: int) -> Iterator[Tensor]:
    """Clips (batch_size, ...) of a source on the CPU, in its order: for reading once."""
    clips = MemoryMapped([source], torch.device("cpu"))
    for rows in torch.split(torch.arange(len(clips)), batch_size):
        yield clips.gather(rows)


def in_memory_limit_bytes(device: torch.device) -> int:
    """How much of one kind of array a device is to hold."""
    if device.type != "cuda":
        return MAX_IN_MEMORY_BYTES_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return int(MAX_IN_MEMORY_SHARE_CUDA * free)


def _common_dtype(sources: Sequence[ClipSource]) -> np.dtype[Any]:
    """Integers where all are."""
    dtypes = {source.array.dtype for source in sources}
    return dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)


def _gather(sources: Sequence[ClipSource], ends: NDArray[np.int64], rows: IndexArray) -> NDArray[Any]:
    dtype = _common_dtype(sources)
    gathered = np.empty((len(rows), *sources[0].array.shape[1:]), dtype)
    source_index = np.searchsorted(ends, rows, side="right")
    for number, source in enumerate(sources):
        positions = np.flatnonzero(source_index == number)
        offset = 0 if number == 0 else ends[number - 1]
        array_rows = source.rows[rows[positions] - offset]
        order = np.argsort(array_rows, kind="stable")  # a disk reads forwards
        for start in range(0, len(order), _ROWS_BEFORE_RELEASE):
            chunk = order[start : start + _ROWS_BEFORE_RELEASE]
            values = source.array[array_rows[chunk]]
            gathered[positions[chunk]] = values if values.dtype == dtype else as_float(values)
            _release_pages(source.array)
    return gathered


def _to_float32(samples: Tensor) -> Tensor:
    """``data.audio.pcm.as_float`` on the training device."""
    return samples.float() / INT16_FULL_SCALE if samples.dtype == torch.int16 else samples


def _release_pages(array: NDArray[Any]) -> None:
    """Give a memory map's pages back; the system's cache keeps them while it has room."""
    owner: object = array.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
