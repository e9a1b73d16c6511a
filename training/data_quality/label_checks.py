"""Checks of labels: spelling variants, likely typos, class imbalance."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from earful.data.labels.clip import Clip, clips_by_label
from earful.data.labels.multilabel import join_labels, split_labels
from earful.training.data_quality.finding import Finding, format_clip_count, make_finding

# A typo is rare: at most two clips or 5 % of the other label's, and at most a fifth of them.
_RARE_CLIPS, _RARE_SHARE, _RARE_RATIO = 2, 0.05, 5
# Short words often differ by one letter (on, off, yes, yet); long ones may have two typos.
_ONE_EDIT_MIN_LENGTH, _TWO_EDITS_MIN_LENGTH = 4, 8
# Few: under a tenth of the median label's clips. Dominant: over ten times the median.
_IMBALANCE_RATIO = 10


def check_label_names(clips: Sequence[Clip]) -> list[Finding]:
    """Findings on labels that are a variant or typo of another, one per clip and label.

    The suggestion is the complete label text of the clip, also where it has several labels.
    """
    counts = clips_by_label(clips)
    variants = _find_label_variants(counts)
    typos = dict(
        _find_label_typos({label: n for label, n in counts.items() if label not in variants})
    )

    def label_findings(code: str, canonical: dict[str, str], relation: str) -> Iterator[Finding]:
        for clip, label in ((c, label) for c in clips for label in split_labels(c.label)):
            if other := canonical.get(label):
                message = (
                    f"{label!r} ({format_clip_count(counts[label])}) is {relation} "
                    f"{other!r} ({format_clip_count(counts[other])})"
                )
                suggestion = join_labels(
                    canonical.get(part, part) for part in split_labels(clip.label)
                )
                yield make_finding(code, message, clip, suggested=suggestion)

    return [
        *label_findings("label_variant", variants, "a variant of"),
        *label_findings("label_typo", typos, "similar to"),
    ]


def check_balance(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Findings on labels with far fewer or far more clips than the median label."""
    counts = clips_by_label(clips)
    median_count = median(counts.values()) if counts else 0
    for label, n in counts.items():
        message = f"{label!r} has {format_clip_count(n)}; the median label has {median_count:g}"
        if 1 < n < median_count / _IMBALANCE_RATIO:
            yield make_finding("imbalance", message, label=label)
        elif n > median_count * _IMBALANCE_RATIO:
            yield make_finding("dominant_label", message, label=label)


def canonical_form(label: str) -> str:
    """Normalise case, spaces, separators and Unicode form of a label.

    ``Seven`` equals ``seven ``, ``turn-left`` equals ``turn_left``, ``1.0`` equals ``1``. A single
    letter keeps its case: ``A`` and ``a`` may be different notes.
    """
    folded = unicodedata.normalize("NFKC", label)
    folded = folded if len(folded) == 1 else unicodedata.normalize("NFKC", folded.casefold())
    invisible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    words = re.sub(r"[\s_]+|(?<=\w)[-‐‑–]+(?=\w)", " ", invisible).strip()
    return re.sub(r"^(\d+)\.0+$", r"\1", words) or folded


def _find_label_variants(counts: Counter[str]) -> dict[str, str]:
    """Map each variant to the most frequent label with the same canonical form."""
    variants: dict[str, list[str]] = {}
    for label in counts:
        variants.setdefault(canonical_form(label), []).append(label)
    canonical_of: dict[str, str] = {}
    for labels in variants.values():
        first, *others = sorted(labels, key=lambda label: (-counts[label], label))
        canonical_of |= dict.fromkeys(others, first)
    return canonical_of


def _find_label_typos(counts: dict[str, int]) -> Iterator[tuple[str, str]]:
    """(rare label, the most frequent label it may be a typo of) pairs."""
    common = sorted(counts, key=lambda label: (-counts[label], label))
    for label, n in counts.items():
        for other in common:
            max_clips = max(_RARE_CLIPS, _RARE_SHARE * counts[other])
            if n > max_clips or n * _RARE_RATIO > counts[other]:
                break  # all further labels have fewer clips
            if is_typo(canonical_form(label), canonical_form(other)):
                yield label, other
                break


def is_typo(label: str, other: str) -> bool:
    """Whether one label may be a typo of the other.

    Digits must be equal: ``take1`` and ``take2`` are two labels.
    """
    longer = max(len(label), len(other))
    if longer < _ONE_EDIT_MIN_LENGTH or re.findall(r"\d+", label) != re.findall(r"\d+", other):
        return False
    max_edits = 2 if min(len(label), len(other)) >= _TWO_EDITS_MIN_LENGTH else 1
    return 0 < edit_distance(label, other, max_edits) <= max_edits


def edit_distance(a: str, b: str, max_distance: int) -> int:
    """Optimal string alignment distance (Damerau, 1964); ``max_distance + 1`` if it is larger.

    Edits are substitution, insertion, deletion, and transposition of adjacent letters.
    """
    if abs(len(a) - len(b)) > max_distance:
        return max_distance + 1
    previous: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        previous, before_previous, row = row, previous, [i]
        for j, other in enumerate(b, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before_previous[j - 2] + 1)
            row.append(cost)
        if min(row) > max_distance:
            return max_distance + 1
    return min(row[-1], max_distance + 1)
