"""Write the three arrays of a dataset batch by batch, in constant memory."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.pcm import as_float, as_int16
from earful.data.features.config import FeatureConfig
from earful.data.features.frontend import Frontend

# Enough clips for efficient matrix products, few enough to fit the CPU cache.
BATCH_CLIPS = 64


class TensorWriter:
    """Writes waveforms.npy, mfcc.npy and log_mel.npy of clips (clip_samples,) added one by one.

    ``int16`` stores waveforms as 16-bit integers, in half the space. A context manager: the arrays
    are complete when it exits without an error.
    """

    def __init__(self, folder: Path, config: FeatureConfig, *, int16: bool = False) -> None:
        self._int16 = int16
        # float64, so that the features equal librosa's for every signal (see Frontend).
        self._frontend = Frontend(config, torch.float64)
        self._pending: list[Waveform] = []
        self._waveforms = _NpyAppender(
            folder / "waveforms.npy", (config.clip_samples,), "<i2" if int16 else "<f4"
        )
        self._mfcc = _NpyAppender(folder / "mfcc.npy", (config.n_mfcc, config.frames))
        self._log_mel = _NpyAppender(folder / "log_mel.npy", (config.n_mels, config.frames))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
        for file in (self._waveforms, self._mfcc, self._log_mel):
            file.close()

    def add(self, clip: Waveform) -> None:
        self._pending.append(clip)
        if len(self._pending) == BATCH_CLIPS:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        waveforms = np.stack(self._pending)
        self._pending.clear()
        stored: NDArray[Any] = waveforms
        if self._int16:
            stored = as_int16(waveforms)
            waveforms = as_float(stored)  # features of the stored values
        with torch.inference_mode():
            log_mel = self._frontend.log_mel(torch.from_numpy(waveforms).double())
            mfcc = self._frontend.mfcc(log_mel)
        self._waveforms.append(stored)
        self._log_mel.append(log_mel.numpy().astype(np.float32))
        self._mfcc.append(mfcc.numpy().astype(np.float32))


class _NpyAppender:
    """An .npy file that grows by rows; NumPy pads the header, so the final count fits."""

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: str = "<f4") -> None:
        self._file = path.open("w+b")
        self._dtype = dtype
        self._row_shape = row_shape
        self._rows = 0
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(rows).data)
        self._rows += len(rows)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        shape = (self._rows, *self._row_shape)
        header = {"descr": self._dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
