"""Recall and precision of the label errors that ``earful check`` finds among flipped labels.

    uv run python -m tests.benchmarks.label_errors [fsdd] [keywords] [--clips 1000] [--spectrum]

Either a random share of all labels is flipped, or a quarter of the clips of one label gets another
label. ``--spectrum`` leaves out the speech encoder's vectors. The row ``original`` counts findings
on the unchanged labels: false alarms or real errors of the dataset. ``counting`` is confident
learning with thresholds and counts (arXiv:1911.00068, as in cleanlab) on the probabilities of the
classifier's first round.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.multilabel import sort_labels
from earful.training.data_quality import label_errors
from earful.training.data_quality.duplicates import drop_ambiguous_duplicates
from earful.training.data_quality.leave_one_out import comparison_kernel, leave_one_out_scores
from earful.training.data_quality.measure_clip import ClipMeasurement
from earful.training.data_quality.measure_dataset import measure_dataset
from earful.training.data_quality.run_checks import stack_encoder_vectors

Codes = NDArray[np.intp]
Shares = tuple[float, float]


def main() -> None:
    arguments = parse_arguments()
    sets = {
        "fsdd": (arguments.data / "fsdd/labels_full.csv", arguments.data / "fsdd/recordings"),
        "keywords": (arguments.data / "keywords/labels.csv", None),
    }
    if unknown := set(arguments.datasets) - set(sets):
        sys.exit(f"unknown dataset {' and '.join(unknown)}; there are {' and '.join(sets)}")
    for name in arguments.datasets or sets:
        csv, audio_dir = sets[name]
        if not csv.is_file():
            sys.exit(f"no {csv}; give the folder of the recordings with --data")
        started = time.process_time()
        measured = measure_dataset(
            read_labels(csv, CsvOptions(audio_dir)), ignore_progress, encode=not arguments.spectrum
        )
        sounds = drop_ambiguous_duplicates(measured.measurements)
        seconds = time.process_time() - started
        print(f"{name}: {len(sounds):,} clips measured in {seconds:.1f} s of processor time")
        if arguments.clips:
            sounds = random.Random(0).sample(sounds, arguments.clips)
        report(sounds, arguments.share, arguments.seeds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("datasets", nargs="*", metavar="fsdd|keywords", help="default: both")
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5, 6, 7])
    parser.add_argument("--share", type=float, default=0.05, help="share of labels to flip")
    parser.add_argument("--clips", type=int, default=0, help="check a random sample of this size")
    parser.add_argument("--spectrum", action="store_true", help="without the speech encoder")
    return parser.parse_args()


def ignore_progress(done: int, total: int) -> None:
    pass


def report(sounds: list[ClipMeasurement], share: float, seeds: list[int]) -> None:
    labels = sort_labels(sound.clip.label for sound in sounds)
    true_labels = np.array([labels.index(sound.clip.label) for sound in sounds])
    thumbnails = np.stack([sound.thumbnail for sound in sounds])
    vectors = stack_encoder_vectors(sounds)
    results: dict[str, list[tuple[Shares, Shares]]] = {}
    for case, seed, given in cases(true_labels, len(labels), share, seeds):
        started = time.process_time()
        estimate = label_errors.estimate_label_errors(
            thumbnails, vectors, given, len(labels), ignore_progress
        )
        seconds = time.process_time() - started
        listed = estimate.error_probability > label_errors.ERROR_PROBABILITY_THRESHOLD
        changed = given != true_labels
        kernel = comparison_kernel(thumbnails, vectors if estimate.used_encoder else None)
        counted = confident_learning(kernel, given, len(labels))
        if not changed.any():
            print(f"  {case}: {listed.sum()} listed; counting {counted.sum()} ({seconds:.1f} s)")
            continue
        pair = shares(listed, changed), shares(counted, changed)
        correct = (estimate.suggested == true_labels)[listed & changed].mean()
        print(
            f"  {case}, seed {seed}: {format_scores(pair[0])}, "
            f"suggestion correct {100 * correct:.0f} %; "
            f"counting {format_scores(pair[1])} ({seconds:.1f} s)"
        )
        results.setdefault(case, []).append(pair)
    for case, pairs in results.items():
        ours, counting = (np.mean([pair[i] for pair in pairs], axis=0) for i in (0, 1))
        print(f"  {case}, mean: {format_scores(ours)}; counting {format_scores(counting)}")


def cases(
    true_labels: Codes, n_labels: int, share: float, seeds: list[int]
) -> Iterator[tuple[str, int, Codes]]:
    """(name, seed, changed labels (clips,)) of each case."""
    yield "original", 0, true_labels
    for seed in seeds:
        generator = np.random.default_rng(seed)
        given = true_labels.copy()
        changed = generator.choice(len(true_labels), round(share * len(true_labels)), replace=False)
        given[changed] = (given[changed] + generator.integers(1, n_labels, len(changed))) % n_labels
        yield f"{100 * share:g} % at random", seed, given
        one, other = generator.choice(n_labels, 2, replace=False)
        of_one = np.flatnonzero(true_labels == one)
        given = true_labels.copy()
        given[generator.choice(of_one, len(of_one) // 4, replace=False)] = other
        yield "25 % of one label", seed, given


def confident_learning(
    kernel: NDArray[np.float32], given: Codes, n_labels: int
) -> NDArray[np.bool_]:
    """Clips (clips,) above the mean confidence of another label's clips."""
    everything = np.ones(len(given), bool)
    scores = leave_one_out_scores(kernel, given, n_labels, everything)
    p = label_errors.softmax(scores * 12)  # about the scale fitted to both datasets
    confident = p >= [p[given == label, label].mean() for label in range(n_labels)]
    best = np.where(confident, p, -1).argmax(axis=1)
    return confident.any(axis=1) & (best != given)


def shares(listed: NDArray[np.bool_], changed: NDArray[np.bool_]) -> Shares:
    """Recall and precision."""
    hits = float((listed & changed).sum())
    return hits / float(changed.sum()), hits / max(1.0, float(listed.sum()))


def format_scores(recall_and_precision: Sequence[float]) -> str:
    recall, precision = recall_and_precision
    return f"recall {100 * recall:.1f} %, precision {100 * precision:.1f} %"


if __name__ == "__main__":
    main()
