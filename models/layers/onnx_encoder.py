"""An encoder that is a file of the user's: ONNX, waveform in, vectors over time out."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from earful.data.errors import EarfulError, did_you_mean_path
from earful.models.bundle.bundle import open_session
from earful.models.bundle.regular_file import read_regular_file
from earful.models.bundle.runtime import ORT_ERRORS, error_line
from earful.models.bundle.session_calls import run_session

# The rate that an encoder takes where its metadata does not say: that of nearly all speech models.
DEFAULT_RATE_HZ = 16_000
RATE_KEY = "sample_rate"


class OnnxEncoder(nn.Module):
    """Waveforms (batch, 1, samples) to vectors (batch, dim, frames), by ONNX Runtime on the CPU.

    The file takes float32 (batch, samples) and gives float32 (batch, frames, dim), with a dynamic
    batch. It has no weights here: a checkpoint names the file and its SHA-256.

    Raises:
        EarfulError: no such file, another checksum, not an ONNX model, or another shape.
    """

    def __init__(self, path: Path, samples: int, sha256: str) -> None:
        super().__init__()
        self.path = path
        content = read_encoder(path)
        if sha256 and file_sha256(content) != sha256:
            raise EarfulError(
                f"{path} is not the encoder that this network was trained with (SHA-256 "
                f"{file_sha256(content)[:12]}, expected {sha256[:12]}); restore the file, or train "
                "again"
            )
        self._session = open_session(content, "cpu", path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = f"found {[(i.type, i.shape) for i in inputs]} to {[o.shape for o in outputs]}"
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
            raise EarfulError(f"{path} is no encoder: {_EXPECTED}; {found}")
        if isinstance(inputs[0].shape[0], int):
            raise EarfulError(
                f"{path} has a fixed batch of {inputs[0].shape[0]}; export it with a dynamic one"
            )
        self.input_name, self.output_name = inputs[0].name, outputs[0].name
        self.dim = self._measure_dim(samples, found)

    @property
    def rate_hz(self) -> int:
        """The sample rate in the file's metadata (``sample_rate``), else 16,000."""
        metadata = self._session.get_modelmeta().custom_metadata_map
        text = metadata.get(RATE_KEY, str(DEFAULT_RATE_HZ))
        if not text.isdecimal():
            raise EarfulError(f"{self.path} has the {RATE_KEY} {text!r}; a whole number is needed")
        return int(text)

    def forward(self, waveform: Tensor) -> Tensor:
        """Vectors (batch, dim, frames)."""
        vectors = self._run(waveform.squeeze(1).numpy())
        return torch.from_numpy(vectors).transpose(1, 2)

    def _run(
        self, waveforms: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
    ) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        try:
            inputs = {self.input_name: waveforms}
            vectors = run_session(self._session, [self.output_name], inputs, self.path)[0]
        except ORT_ERRORS as error:
            reason = error_line(error)[:200]
            raise EarfulError(
                f"{self.path} fails on clips of {waveforms.shape[1]} samples; it takes "
                f"{self.rate_hz} Hz: prepare with --sample-rate {self.rate_hz} ({reason})"
            ) from error
        return np.asarray(vectors, np.float32)

    def _measure_dim(self, samples: int, found: str) -> int:
        """Run it once on two clips of silence."""
        vectors = self._run(np.zeros((2, samples), np.float32))
        if vectors.ndim != 3 or len(vectors) != 2 or 0 in vectors.shape:
            raise EarfulError(
                f"{self.path} is no encoder: {_EXPECTED}; {found}, and two clips gave "
                f"{vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise EarfulError(f"{self.path} gives vectors that are not finite for silence")
        return int(vectors.shape[2])


_EXPECTED = "an encoder takes float32 (batch, samples) and gives (batch, frames, dim)"


def read_encoder(path: Path) -> bytes:
    """The content of an encoder file.

    Raises:
        EarfulError: it is missing or cannot be read.
    """
    try:
        return read_regular_file(path)
    except FileNotFoundError as error:
        raise EarfulError(
            f"no encoder file {path}{did_you_mean_path(path)}; give an ONNX file, or "
            "--encoder speech"
        ) from error
    except OSError as error:
        raise EarfulError(f"cannot read the encoder {path}: {error.strerror}") from error


def file_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
