"""Speed of augmentation as a whole and of each of its steps, in clips/s.

    uv run python -m tests.benchmarks.augmentation [--batch 64 128] [--samples 8000 16000]

Clips of one second of noise on one CPU thread, or on the GPU with ``--device cuda``. The whole is
what training does to a batch: waveform steps, front end, steps on log-mel. A step is measured on a
whole batch; ``share`` is its share of the time of the whole, with its probability by default.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from earful.data.augmentation import noise, spectrogram, waveform
from earful.data.augmentation.pipeline import AugmentConfig, augment_log_mel, augment_waveforms
from earful.data.features.config import FeatureConfig
from earful.data.features.frontend import Frontend

CONFIG = AugmentConfig()


@dataclass(frozen=True)
class Step:
    """One step on a whole batch, and the share of the clips that get it."""

    run: Callable[[], Tensor]
    probability: float = 1.0


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    for batch in arguments.batch:
        for samples in arguments.samples:
            with torch.inference_mode():
                report(batch, samples, device, arguments.rounds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--samples", type=int, nargs="+", default=[8_000, 16_000])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


def report(batch: int, samples: int, device: torch.device, rounds: int) -> None:
    candidates = steps(batch, samples, device)
    seconds = measure_in_turn(candidates, rounds)
    whole = seconds["whole"]
    print(f"{batch} clips of {samples:,} samples: {batch / whole:,.0f} clips/s")
    print("  step              clips/s   share")
    for name, step in candidates.items():
        if name != "whole":
            share = step.probability * seconds[name] / whole
            print(f"  {name:<14}{batch / seconds[name]:>11,.0f}{share:>8.1%}")


def steps(batch: int, samples: int, device: torch.device) -> dict[str, Step]:
    """Every step of ``augment_waveforms``, the front end and ``augment_log_mel``, and the whole."""
    config, rate_hz = CONFIG, samples
    generator = torch.Generator(device).manual_seed(0)
    frontend = Frontend(FeatureConfig.for_rate(rate_hz)).to(device)
    frames_per_second = frontend.config.frames / frontend.config.clip_seconds
    x, babble = (random_clips(batch, samples, generator) for _ in range(2))
    features = frontend.log_mel(x)

    def whole() -> Tensor:
        augmented = augment_waveforms(x, babble, config, rate_hz, generator)
        return augment_log_mel(frontend.log_mel(augmented), config, frames_per_second, generator)

    def add_noise() -> Tensor:
        return noise.add_noise(x, babble, config.babble_share, config.snr_db, rate_hz, generator)

    def vocal_tract() -> Tensor:
        return spectrogram.warp_vocal_tract(
            features, config.vocal_tract, config.vocal_tract_bend, generator
        )

    def masks() -> Tensor:
        width = round(config.time_mask_seconds * frames_per_second)
        return spectrogram.spec_augment(features, config.frequency_mask_bins, width, 1, generator)

    shift = round(config.shift_seconds * rate_hz)
    room_seconds = config.reverberation_seconds
    return {
        "whole": Step(whole),
        "speed": Step(lambda: waveform.change_speed(x, config.speed, generator)),
        "trim edges": Step(
            lambda: waveform.trim_edges(x, config.trim_edges_db, generator), config.p_trim_edges
        ),
        "time shift": Step(lambda: waveform.shift_time(x, shift, generator)),
        "room": Step(
            lambda: waveform.reverberate(x, room_seconds, rate_hz, generator), config.p_reverberate
        ),
        "noise": Step(add_noise, config.p_noise),
        "impulses": Step(
            lambda: noise.add_impulses(x, config.impulse_share, generator), config.p_impulses
        ),
        "equaliser": Step(
            lambda: waveform.equalise(x, config.equaliser_db, generator), config.p_equalise
        ),
        "band limits": Step(
            lambda: waveform.limit_band(x, rate_hz, generator), config.p_band_limit
        ),
        "clipping": Step(lambda: waveform.clip_peaks(x, generator), config.p_clipping),
        "gain": Step(lambda: waveform.change_gain(x, config.gain_db, generator)),
        "mu-law": Step(lambda: waveform.code_mu_law(x, generator), config.p_codec),
        "front end": Step(lambda: frontend.log_mel(x)),
        "vocal tract": Step(vocal_tract),
        "tempo": Step(
            lambda: spectrogram.warp_time(features, config.tempo, config.tempo_bend, generator)
        ),
        "masks": Step(masks),
    }


def random_clips(batch: int, samples: int, generator: Generator) -> Tensor:
    shape, device = (batch, samples), generator.device
    return 0.2 * torch.randn(shape, generator=generator, device=device)


def measure_in_turn(candidates: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate, after a warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, step in candidates.items():
            started = time.perf_counter()
            _ = step.run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
