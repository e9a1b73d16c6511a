"""Wrong labels that ``earful check`` finds where labels were made wrong on purpose.

    uv run python -m tests.benchmarks.label_errors [fsdd] [keywords] [--seeds 3 4 5 6 7]

A share of the labels is exchanged for others at random, or a quarter of one label for another one;
told are how many of these are listed (recall), and how many of those that are listed were
exchanged (precision). What is listed of the labels as they are is the row ``as they are``: these
are false alarms, or real errors of the set. ``counting`` is confident learning with thresholds and
counts (arXiv:1911.00068, as cleanlab has it) on the probabilities of the same classifier's first
round.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.data.dataset.reader import ClipAudio, read_clips
from earful.data.labels.labels_csv import LabelledClips, read_labels
from earful.data.labels.multilabel import sort_labels
from earful.training.data_quality import label_errors
from earful.training.data_quality.duplicates import one_of_each
from earful.training.data_quality.measure_clip import Sound, measure

Codes = NDArray[np.intp]
Shares = tuple[float, float]


def main() -> None:
    arguments = parse_arguments()
    sets = {
        "fsdd": (arguments.data / "fsdd/labels_full.csv", arguments.data / "fsdd/recordings"),
        "keywords": (arguments.data / "keywords/labels.csv", None),
    }
    if unknown := set(arguments.what) - set(sets):
        sys.exit(f"the sets are {' and '.join(sets)}, not {' and '.join(unknown)}")
    for name in arguments.what or sets:
        csv, audio_dir = sets[name]
        if not csv.is_file():
            sys.exit(f"the real recordings are needed in {arguments.data}; give another --data")
        began = time.perf_counter()
        sounds = measure_clips(read_labels(csv, audio_dir))
        print(f"{name}: {len(sounds):,} clips measured in {time.perf_counter() - began:.1f} s")
        report(sounds, arguments.share, arguments.seeds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", metavar="fsdd|keywords", help="both without it")
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5, 6, 7])
    parser.add_argument("--share", type=float, default=0.05, help="of all labels, at random")
    return parser.parse_args()


def measure_clips(labelled: LabelledClips) -> list[Sound]:
    found = read_clips(labelled.clips, None)
    return one_of_each([measure(clip, a) for clip, a in found if isinstance(a, ClipAudio)])


def report(sounds: list[Sound], share: float, seeds: list[int]) -> None:
    labels = sort_labels(sound.clip.label for sound in sounds)
    true_labels = np.array([labels.index(sound.clip.label) for sound in sounds])
    pictures = np.stack([sound.picture for sound in sounds])
    found: dict[str, list[tuple[Shares, Shares]]] = {}
    for what, seed, given in cases(true_labels, len(labels), share, seeds):
        began = time.perf_counter()
        judged = label_errors.judge(pictures, given, len(labels), lambda done, total: None)
        seconds = time.perf_counter() - began
        listed, changed = judged.wrong > label_errors.SUSPECT, given != true_labels
        counted = confident_learning(pictures, given, len(labels))
        if not changed.any():
            print(f"  {what}: {listed.sum()} listed; counting {counted.sum()} ({seconds:.1f} s)")
            continue
        pair = shares(listed, changed), shares(counted, changed)
        right = (judged.heard == true_labels)[listed & changed].mean()
        print(
            f"  {what}, seed {seed}: {format_scores(pair[0])}, suggestion right {100 * right:.0f} %; "
            f"counting {format_scores(pair[1])} ({seconds:.1f} s)"
        )
        found.setdefault(what, []).append(pair)
    for what, pairs in found.items():
        ours, counted_ones = (np.mean([pair[i] for pair in pairs], axis=0) for i in (0, 1))
        print(f"  {what}, mean: {format_scores(ours)}; counting {format_scores(counted_ones)}")


def cases(
    true_labels: Codes, n_labels: int, share: float, seeds: list[int]
) -> Iterator[tuple[str, int, Codes]]:
    """What was changed, by which seed, and the labels (clips,) after it."""
    yield "as they are", 0, true_labels
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


def confident_learning(pictures: NDArray[np.float16], given: Codes, n_labels: int) -> NDArray[np.bool_]:
    """Clips that are confidently of another label: by the mean confidence of that label's clips."""
    everything = np.ones(len(given), bool)
    scores = label_errors.left_out_scores(
        label_errors.similarities(pictures), given, n_labels, everything
    )
    p = label_errors.softmax(scores * 12)  # about what is fitted to both sets
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
