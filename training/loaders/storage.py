"""Clip arrays for training: in memory on the device, or memory-mapped and read on demand.

Both give the same values. Pages of memory maps are released soon after reading, so that resident
memory does not grow with the dataset.
"""

import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earful.data.audio.pcm import INT16_FULL_SCALE, as_float
from earful.data.augmentation.device_copy import copy_to_device
from earful.data.features.extractor import FeatureExtractor

IndexArray = NDArray[np.int64]
# Larger arrays stay on disk: on a CPU, reading from the page cache costs little.
MAX_IN_MEMORY_BYTES_CPU = 1 << 30
# Share of the free GPU memory when an array is opened: training clips first, then validation clips;
# the rest is for activations.
MAX_IN_MEMORY_SHARE_CUDA = 0.4
# Clips are copied to the device in chunks of this size.
_CHUNK_BYTES = 64 << 20
# Reading one clip may map 2 MiB of its file (a huge page of the page cache), so pages are released
# after this many rows.
_ROWS_BEFORE_RELEASE = 128


class ClipArray(Protocol):
    """Clips (clips, ...) that can be gathered by row."""

    def __len__(self) -> int: ...

    def gather(self, rows: Tensor) -> Tensor:
        """The clips at ``rows`` (rows,), in this order, float32 on the training device."""
        ...


@dataclass(frozen=True)
class ClipSource:
    """An array (clips, ...) on disk, float32 or int16, and the rows to use."""

    array: NDArray[Any]
    rows: IndexArray

    @property
    def nbytes(self) -> int:
        return len(self.rows) * self.array[:1].nbytes


@dataclass(frozen=True)
class InMemory:
    """All clips on the device, in the type that they have on disk: int16 takes half the memory."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, rows: Tensor) -> Tensor:
        return _to_float32(self.values[copy_to_device(rows, self.values.device)])


@dataclass(frozen=True)
class ComputedFeatures:
    """Features that are computed from waveforms (clips, samples) as they are read."""

    waveforms: ClipArray
    extractor: FeatureExtractor

    def __len__(self) -> int:
        return len(self.waveforms)

    @torch.no_grad()
    def gather(self, rows: Tensor) -> Tensor:
        features: Tensor = self.extractor(self.waveforms.gather(rows))
        return features


class MemoryMapped:
    """Clips that stay on disk."""

    def __init__(self, sources: Sequence[ClipSource], device: torch.device) -> None:
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(source.rows) for source in sources])
        self._device = device

    def __len__(self) -> int:
        return int(self._ends[-1])

    def gather(self, rows: Tensor) -> Tensor:
        gathered = torch.from_numpy(_gather(self._sources, self._ends, rows.cpu().numpy()))
        return _to_float32(copy_to_device(gathered, self._device))


def open_clips(sources: Sequence[ClipSource], device: torch.device) -> ClipArray:
    """The concatenated clips of all sources: in memory where they fit, else memory-mapped."""
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
    """Batches (batch_size, ...) of a source on the CPU, in order."""
    clips = MemoryMapped([source], torch.device("cpu"))
    for rows in torch.split(torch.arange(len(clips)), batch_size):
        yield clips.gather(rows)


def in_memory_limit_bytes(device: torch.device) -> int:
    """Size up to which an array is held in memory on a device."""
    if device.type != "cuda":
        return MAX_IN_MEMORY_BYTES_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return int(MAX_IN_MEMORY_SHARE_CUDA * free)


def _common_dtype(sources: Sequence[ClipSource]) -> np.dtype[Any]:
    """The sources' type where they share it, else float32."""
    dtypes = {source.array.dtype for source in sources}
    return dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)


def _gather(
    sources: Sequence[ClipSource], ends: NDArray[np.int64], rows: IndexArray
) -> NDArray[Any]:
    dtype = _common_dtype(sources)
    gathered = np.empty((len(rows), *sources[0].array.shape[1:]), dtype)
    source_index = np.searchsorted(ends, rows, side="right")
    for number, source in enumerate(sources):
        positions = np.flatnonzero(source_index == number)
        offset = 0 if number == 0 else ends[number - 1]
        array_rows = source.rows[rows[positions] - offset]
        order = np.argsort(array_rows, kind="stable")  # disks read fastest in ascending order
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
    """Release a memory map's resident pages; the page cache keeps them while there is room."""
    owner: object = array.base
    if isinstance(owner, mmap.mmap) and sys.platform != "win32" and hasattr(owner, "madvise"):
        owner.madvise(mmap.MADV_DONTNEED)
