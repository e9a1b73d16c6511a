"""Labels that are written in two ways, likely misspelt, or have few clips."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from earful.data.labels.labels_csv import Clip
from earful.data.labels.multilabel import join_labels, split_labels
from earful.training.data_quality.finding import Finding, clips_of, found

# A misspelt label is rare: two clips or 5 % of the other's, and a fifth of them at most.
_RARE_CLIPS, _RARE_SHARE, _RARE_TIMES = 2, 0.05, 5
# Short words are often a letter apart (on, off, yes, yet); long ones may have two slips.
_ONE_SLIP_FROM, _TWO_SLIPS_FROM = 4, 8
# Under a tenth of the median label is few; over ten times the median is most.
_IMBALANCE = 10


def check_label_names(clips: Sequence[Clip]) -> list[Finding]:
    """Labels that are another one misspelt or written in another form, a finding a clip and label.

    What is suggested is the whole text of the clip's label, which may have others besides.
    """
    counts = clips_by_label(clips)
    forms = _other_forms(counts)
    slips = dict(_misspelt({label: n for label, n in counts.items() if label not in forms}))

    def told(code: str, meant: dict[str, str], how: str) -> Iterator[Finding]:
        for clip, label in ((c, label) for c in clips for label in split_labels(c.label)):
            if other := meant.get(label):
                ours, theirs = clips_of(counts[label]), clips_of(counts[other])
                message = f"{label!r} ({ours}) is {how} {other!r} ({theirs})"
                better = join_labels(meant.get(part, part) for part in split_labels(clip.label))
                yield found(
                    code, message, clip.line, clip.filename, label=clip.label, suggested=better
                )

    return [*told("label_form", forms, "a form of"), *told("label_typo", slips, "nearly")]


def clips_by_label(clips: Iterable[Clip]) -> Counter[str]:
    """How many clips have each label."""
    return Counter(label for clip in clips for label in split_labels(clip.label))


def check_balance(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Labels with far fewer clips than the others, or far more."""
    counts = clips_by_label(clips)
    usual = median(counts.values()) if counts else 0
    for label, n in counts.items():
        told = f"{label!r} has {clips_of(n)}; the median label has {usual:g}"
        if 1 < n < usual / _IMBALANCE:
            yield found("imbalance", told, label=label)
        elif n > usual * _IMBALANCE:
            yield found("dominant_label", told, label=label)


def plain_form(label: str) -> str:
    """What is left of a label when case, spaces, separators and Unicode forms do not matter.

    ``Seven`` and ``seven `` are one, ``turn-left`` and ``turn_left``, and ``1.0`` and ``1``. A
    single letter keeps its case: ``A`` and ``a`` may well be two notes.
    """
    folded = unicodedata.normalize("NFKC", label)
    folded = folded if len(folded) == 1 else unicodedata.normalize("NFKC", folded.casefold())
    invisible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    words = re.sub(r"[\s_]+|(?<=\w)[-‐‑–]+(?=\w)", " ", invisible).strip()
    return re.sub(r"^(\d+)\.0+$", r"\1", words) or folded


def _other_forms(counts: Counter[str]) -> dict[str, str]:
    """Label -> the commonest of those that are the same but for their form."""
    forms: dict[str, list[str]] = {}
    for label in counts:
        forms.setdefault(plain_form(label), []).append(label)
    others_of: dict[str, str] = {}
    for labels in forms.values():
        first, *others = sorted(labels, key=lambda label: (-counts[label], label))
        others_of |= dict.fromkeys(others, first)
    return others_of


def _misspelt(counts: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Rare labels with the commonest label that they are a slip or two away from."""
    common = sorted(counts, key=lambda label: (-counts[label], label))
    for label, n in counts.items():
        for other in common:
            most = max(_RARE_CLIPS, _RARE_SHARE * counts[other])
            if n > most or n * _RARE_TIMES > counts[other]:
                break  # those that follow have fewer clips yet
            if is_slip(plain_form(label), plain_form(other)):
                yield label, other
                break


def is_slip(label: str, other: str) -> bool:
    """Whether two labels differ as a word and its misspelling do.

    Digits must agree (``take1`` and ``take2`` are two labels).
    """
    longer = max(len(label), len(other))
    if longer < _ONE_SLIP_FROM or re.findall(r"\d+", label) != re.findall(r"\d+", other):
        return False
    slips = 2 if min(len(label), len(other)) >= _TWO_SLIPS_FROM else 1
    return 0 < edits(label, other, slips) <= slips


def edits(a: str, b: str, most: int) -> int:
    """Letters to change, add, leave out or swap with a neighbour; ``most`` + 1 where more are.

    Optimal string alignment (Damerau, 1964; no letter is touched twice).
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
