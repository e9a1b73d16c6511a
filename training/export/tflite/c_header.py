"""C headers for a front end of one's own: its parameters and tables, and golden vectors.

``tests/training/export/tflite/front_end.c`` is a front end that uses nothing else.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from earful.data.features.config import FeatureConfig, hann_window, mel_filters
from earful.data.features.frontend import POWER_FLOOR, Frontend
from earful.models.layers.normalise import WaveformClassifier
from earful.training.export.tflite.tflite_model import QuantizationParameters

FIRST_LINE = "/* Made by `earful export --target tflite`; changes are lost at the next export. */"
_NUMBERS_PER_LINE = 8

_STEPS = """\
/*
 * How the features of a clip are computed (tables below, golden vectors in {golden}). A file of a
 * program includes the header of one model.
 *
 * 1. A clip has EARFUL_CLIP_SAMPLES mono samples at EARFUL_SAMPLE_RATE_HZ, x[n] = int16 / 32768.0f.
 * 2. Frame t, from 0 to EARFUL_FRAMES - 1, is the EARFUL_WIN_LENGTH samples from
 *    t * EARFUL_HOP_LENGTH - (EARFUL_WIN_LENGTH + 1) / 2 on, zero outside of the clip, each times
 *    earful_window[i], with zeros behind them up to EARFUL_N_FFT.
 * 3. power[k] = |FFT(frame)[k]|^2 for k from 0 to EARFUL_N_FFT / 2.
 * 4. mel[m] = sum of earful_mel_weights[...] * power[earful_mel_first[m] + i] for i from 0 to
 *    earful_mel_count[m] - 1; the weights of all filters follow each other.
 * 5. db[m] = 10 * log10(max(mel[m], EARFUL_POWER_FLOOR)).
 * 6. value[b] = {values}.
 * 7. feature[b] = (value[b] - earful_mean[b]) * earful_inverse_std[b].
 * 8. The model's input is feature[b] of frame t at [{index}]{input}.
 * 9. The model's output has the score of earful_labels[i] at [i]{output}.
 *    Scores are {scores}. Of a clip whose highest score is below EARFUL_REJECTION_THRESHOLD the
 *    model knows no label.
 */
"""


def front_end_header(
    model: WaveformClassifier,
    labels: Sequence[str],
    codes: tuple[QuantizationParameters, QuantizationParameters],
    rejection_threshold: float,
    golden_name: str,
    *,
    is_stream: bool = False,
) -> str:
    """The header with parameters and tables; ``codes`` are those of the input and the output."""
    config, is_mfcc = model.extractor.config, model.extractor.kind == "mfcc"
    input_parameters, output_parameters = codes
    filters = mel_filters(config)
    first = [int(np.flatnonzero(row)[0]) for row in filters]
    weights = [row[np.flatnonzero(row)[0] : np.flatnonzero(row)[-1] + 1] for row in filters]
    normalisation = model.classifier
    parts = [
        FIRST_LINE,
        "#ifndef EARFUL_MODEL_H",
        "#define EARFUL_MODEL_H\n",
        "#include <stdint.h>\n",
        _STEPS.format(
            golden=golden_name,
            values="sum of earful_dct[b * EARFUL_N_MELS + m] * db[m]" if is_mfcc else "db[b]",
            scores=(
                "independent of each other" if model.score_kind == "sigmoid" else "shares of 1"
            ),
            index="b" if is_stream else "b * EARFUL_FRAMES + t",
            input=_STREAM_NOTE
            if is_stream
            else ""
            if not input_parameters.is_int8
            else _INPUT_NOTE,
            output="" if not output_parameters.is_int8 else _OUTPUT_NOTE,
        ),
        *_parameters(config, len(normalisation.mean), len(labels)),
        f"#define EARFUL_REJECTION_THRESHOLD {_float(rejection_threshold)}",
        *(["#define EARFUL_USES_MFCC"] * is_mfcc),
        *_code_lines("INPUT", input_parameters),
        *_code_lines("OUTPUT", output_parameters),
        "",
        f"static const char *const earful_labels[{len(labels)}] = {{",
        *(f"    {_c_string(label)}," for label in labels),
        "};\n",
        _array("float", "earful_window", hann_window(config.win_length)),
        _array("uint16_t", "earful_mel_first", first),
        _array("uint16_t", "earful_mel_count", [len(row) for row in weights]),
        _array("float", "earful_mel_weights", np.concatenate(weights)),
        *([_array("float", "earful_dct", Frontend(config).dct.numpy().ravel())] * is_mfcc),
        _array("float", "earful_mean", normalisation.mean.numpy().ravel()),
        _array("float", "earful_inverse_std", 1 / normalisation.std.numpy().ravel()),
        "#endif",
    ]
    return "\n".join(parts) + "\n"


_INPUT_NOTE = """,
 *    as round(feature / EARFUL_INPUT_SCALE) + EARFUL_INPUT_ZERO_POINT, clipped to -128 to 127"""
_STREAM_NOTE = """,
 *    and state_0, state_1, ...: before frame 0 as earful.json in the model's file says, then the
 *    next_state_0, next_state_1, ... that the model gave for the frame before. A stream has any
 *    number of frames; the golden scores are those after frame EARFUL_FRAMES - 1"""
_OUTPUT_NOTE = """,
 *    as (score - EARFUL_OUTPUT_ZERO_POINT) * EARFUL_OUTPUT_SCALE"""


def golden_header(
    waveform: NDArray[np.int16], features: NDArray[np.float32], scores: NDArray[np.float32]
) -> str:
    """The header of golden vectors: a waveform, its features (bins, frames), the model's scores."""
    parts = [
        FIRST_LINE,
        "#ifndef EARFUL_MODEL_GOLDEN_H",
        "#define EARFUL_MODEL_GOLDEN_H\n",
        "#include <stdint.h>\n",
        "/* A waveform, the features that it has, and the scores that the model gives for them. */",
        _array("int16_t", "earful_golden_waveform", waveform),
        _array("float", "earful_golden_features", features.ravel()),
        _array("float", "earful_golden_scores", scores.ravel()),
        "#endif",
    ]
    return "\n".join(parts) + "\n"


def _parameters(config: FeatureConfig, bins: int, n_labels: int) -> list[str]:
    values = {
        "SAMPLE_RATE_HZ": config.sample_rate_hz,
        "CLIP_SAMPLES": config.clip_samples,
        "N_FFT": config.n_fft,
        "WIN_LENGTH": config.win_length,
        "HOP_LENGTH": config.hop_length,
        "FRAMES": config.frames,
        "N_MELS": config.n_mels,
        "BINS": bins,
        "N_LABELS": n_labels,
    }
    lines = [f"#define EARFUL_{name} {value}" for name, value in values.items()]
    return [*lines, f"#define EARFUL_POWER_FLOOR {_float(POWER_FLOOR)}"]


def _code_lines(name: str, code: QuantizationParameters) -> list[str]:
    if not code.is_int8:
        return []
    return [
        f"#define EARFUL_{name}_SCALE {_float(code.scale)}",
        f"#define EARFUL_{name}_ZERO_POINT ({code.zero_point})",
    ]


def _array(kind: str, name: str, values: Iterable[float]) -> str:
    numbers = [_float(value) if kind == "float" else str(value) for value in values]
    lines = [
        "    " + ", ".join(numbers[start : start + _NUMBERS_PER_LINE]) + ","
        for start in range(0, len(numbers), _NUMBERS_PER_LINE)
    ]
    return f"static const {kind} {name}[{len(numbers)}] = {{\n" + "\n".join(lines) + "\n};\n"


def _float(value: float) -> str:
    """A float literal of C, which needs a point or an exponent: 1f is none."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _c_string(text: str) -> str:
    """A string literal in UTF-8; all but plain characters as octal escapes of three digits."""
    plain = set(range(32, 127)) - set(b'"\\?')
    body = "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode())
    return f'"{body}"'
