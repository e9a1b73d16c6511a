"""Wrong labels that ``earshot check`` finds where labels were made wrong on purpose.

    uv run python -m tests.benchmarks.label_errors [--data ../shared] [--seeds 3 4 5 6 7]

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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.clips import ClipAudio, read_clips
from data.labels import LabelledClips, label_order, read_labels
from training.doctor import wrong
from training.doctor.copies import one_of_each
from training.doctor.sound import Sound, measure

Codes = NDArray[np.intp]


def main() -> None:
    arguments = parse_arguments()
    sets = {
        "FSDD": (arguments.data / "fsdd/labels_full.csv", arguments.data / "fsdd/recordings"),
        "keywords": (arguments.data / "keywords/labels.csv", None),
    }
    if not all(csv.is_file() for csv, _ in sets.values()):
        sys.exit(f"the real recordings are needed in {arguments.data}; give another --data")
    for name, (csv, audio_dir) in sets.items():
        began = time.perf_counter()
        sounds = measured(read_labels(csv, audio_dir))
        print(f"{name}: {len(sounds):,} clips measured in {time.perf_counter() - began:.1f} s")
        for share in arguments.shares:
            report(sounds, share, arguments.seeds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5, 6, 7])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.2])
    return parser.parse_args()


def measured(labelled: LabelledClips) -> list[Sound]:
    found = read_clips(labelled.clips, None)
    return one_of_each([measure(clip, a) for clip, a in found if isinstance(a, ClipAudio)])


def report(sounds: list[Sound], share: float, seeds: list[int]) -> None:
    labels = label_order(sound.clip.label for sound in sounds)
    truth = np.array([labels.index(sound.clip.label) for sound in sounds])
    pictures = np.stack([sound.picture for sound in sounds])
    for what, given in cases(truth, len(labels), share, seeds):
        began = time.perf_counter()
        judged = wrong.judge(pictures, given, len(labels), lambda done, total: None)
        seconds = time.perf_counter() - began
        listed = judged.wrong > wrong.SUSPECT
        right = judged.heard[listed & (given != truth)] == truth[listed & (given != truth)]
        print(
            f"  {what:28} {told(listed, given != truth)}, suggestion right "
            f"{100 * right.mean() if len(right) else 100:.0f} %, {seconds:.1f} s; "
            f"counting {told(counting(pictures, given, len(labels)), given != truth)}"
        )


def cases(
    truth: Codes, n_labels: int, share: float, seeds: list[int]
) -> Iterator[tuple[str, Codes]]:
    yield "as they are", truth
    for seed in seeds:
        generator = np.random.default_rng(seed)
        given = truth.copy()
        changed = generator.choice(len(truth), round(share * len(truth)), replace=False)
        given[changed] = (given[changed] + generator.integers(1, n_labels, len(changed))) % n_labels
        yield f"{100 * share:g} % at random, seed {seed}", given
        one, other = generator.choice(n_labels, 2, replace=False)
        of_one = np.flatnonzero(truth == one)
        given = truth.copy()
        given[generator.choice(of_one, len(of_one) // 4, replace=False)] = other
        yield f"25 % of one label, seed {seed}", given


def counting(pictures: NDArray[np.float16], given: Codes, n_labels: int) -> NDArray[np.bool_]:
    """Clips that are confidently of another label: by the mean confidence of that label's clips."""
    everything = np.ones(len(given), bool)
    scores = wrong.left_out_scores(wrong.similarities(pictures), given, n_labels, everything)
    p = wrong.softmax(scores * 12)  # about what is fitted to both sets
    confident = p >= [p[given == label, label].mean() for label in range(n_labels)]
    best = np.where(confident, p, -1).argmax(axis=1)
    return confident.any(axis=1) & (best != given)


def told(listed: NDArray[np.bool_], changed: NDArray[np.bool_]) -> str:
    hits = int((listed & changed).sum())
    if not changed.any():
        return f"{listed.sum():3} of {len(listed):,} listed"
    return (
        f"recall {100 * hits / changed.sum():5.1f} %, precision "
        f"{100 * hits / max(1, listed.sum()):5.1f} % ({hits} of {listed.sum()})"
    )


if __name__ == "__main__":
    main()
