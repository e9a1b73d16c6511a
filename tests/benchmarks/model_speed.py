"""Latency and clips/s of model files: waveform to probabilities, one clip on one thread.

    uv run python tests/benchmarks/model_speed.py models/pretrained/digits.onnx

Files are timed in alternation, so that ratios between them hold on a noisy machine.
"""

import argparse
from pathlib import Path

import numpy as np

from earful.service.classifier import Classifier
from earful.training.metrics.latency import median_latency_ms

ROUNDS = 9


def main() -> None:
    """Print the median of nine medians for each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    opened = [Classifier.open(path) for path in parser.parse_args().models]
    rounds = [[median_latency_ms(classifier) for classifier in opened] for _ in range(ROUNDS)]
    for classifier, milliseconds in zip(opened, np.median(rounds, axis=0), strict=True):
        rate = 1000 / milliseconds
        print(f"{classifier.bundle.path}: {milliseconds:.3f} ms per clip, {rate:,.0f} clips/s")


if __name__ == "__main__":
    main()
