"""What INT8 costs and gains, kept beside the checkpoints of its run for the run's report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from earful.data.errors import command, describe_os_error
from earful.data.text.json_input import read_json
from earful.models.bundle.json_values import count, positive
from earful.training.export.quantize_graph import QuantizationError
from earful.training.metrics.paired_accuracy import PairedAccuracy

INT8_FILENAME = "int8.json"


@dataclass(frozen=True)
class Int8Figures:
    """An INT8 model file beside the float one of the same epoch.

    file        where it was written, on the machine that exported it
    best_epoch  the epoch that both are of
    latency_ms  median of one clip, waveform to probabilities, on one thread
    test        None: the dataset has no test part, or the run was not finished
    """

    file: str
    best_epoch: int
    size_bytes: int
    float_size_bytes: int
    latency_ms: float
    float_latency_ms: float
    validation: PairedAccuracy
    test: PairedAccuracy | None

    @property
    def filename(self) -> str:
        return Path(self.file).name

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Parse the content of int8.json.

        Raises:
            KeyError, TypeError, ValueError: it was not written by this version.
        """
        return cls(
            file=str(values["file"]),
            best_epoch=count(values["best_epoch"]),
            size_bytes=count(values["size_bytes"]),
            float_size_bytes=count(values["float_size_bytes"]),
            latency_ms=positive(values["latency_ms"]),
            float_latency_ms=positive(values["float_latency_ms"]),
            validation=PairedAccuracy.from_dict(values["validation"]),
            test=None if values["test"] is None else PairedAccuracy.from_dict(values["test"]),
        )


def read_int8_figures(run: Path) -> Int8Figures | None:
    """The figures of a run's last INT8 export; None if there was none.

    Raises:
        QuantizationError: the file is damaged, or cannot be read.
    """
    path = run / INT8_FILENAME
    try:
        return Int8Figures.from_dict(read_json(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise QuantizationError(f"cannot read {path}: {describe_os_error(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        again = command("export", run, "--out", "model.onnx", "--int8")
        raise QuantizationError(f"{path} is damaged; write it again: {again}") from error
