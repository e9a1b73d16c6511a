"""Names of folders that are no labels: folds, speakers, dates, hashes, ``audio``, ``train``."""

import re
from collections import Counter
from collections.abc import Collection

from earful.data.labels.split_words import SPLIT_WORDS

# The background of Speech Commands, and of the folders that follow it.
BACKGROUND_FOLDER = "_background_noise_"
_NUMBERED = r"[ _.-]?0*[0-9]+"
# In this order: the kind of a name, what it is called in a message, and the field of a pattern.
_KINDS: dict[str, tuple[re.Pattern[str], str]] = {
    "folds": (re.compile(rf"(fold|part|set|batch|chunk|shard|cv|subset|split){_NUMBERED}"), "fold"),
    "speakers": (
        re.compile(
            rf"(actor|actress|speaker|spk|spkr|subject|subj|user|person|participant|patient|child|"
            rf"client|voice|singer|id){_NUMBERED}|[a-z]{{1,2}}0*[0-9]{{2,}}"
        ),
        "speaker",
    ),
    "sessions": (
        re.compile(
            rf"(session|sess|recording|rec|take|day|week|mic|device|disc|disk|cd){_NUMBERED}"
        ),
        "*",
    ),
    "dates": (re.compile(r"(19|20)[0-9]{2}[-_.]?[01][0-9]([-_.]?[0-3][0-9])?"), "*"),
    "ids": (re.compile(r"(?=.*[0-9])[0-9a-f]{6,}|[0-9a-f]{8}-[0-9a-f-]{20,}"), "speaker"),
    "numbers": (re.compile(r"[0-9]+"), "speaker"),
    "kinds of files": (
        re.compile(
            r"audios?|wavs?|mp3s?|flac|clips?|recordings?|sounds?|data|files?|speakers?|voices?|"
            r"samples?|media|raw|input|output"
        ),
        "*",
    ),
    "parts of a split": (re.compile("|".join(sorted(SPLIT_WORDS))), "split"),
}


def kind_of(name: str) -> str:
    """What a folder's name is instead of a label, such as ``folds``; empty if it may be a label."""
    for kind, (pattern, _) in _KINDS.items():
        if pattern.fullmatch(name.lower()):
            return kind
    return ""


def common_kind(names: Collection[str]) -> str:
    """What more than half of the names are instead of labels; empty if they may be labels.

    Digits and counting numbers, ``0`` to ``9`` or ``1`` to ``12``, may be labels. Of parts of a
    split and of kinds of files, all names must be: ``train`` beside ``bus`` is a vehicle.
    """
    if _are_counted(names):
        return ""
    counts = Counter(kind for kind in map(kind_of, names) if kind)
    if not counts:
        return ""
    kind, count = counts.most_common(1)[0]
    strict = kind in ("parts of a split", "kinds of files")
    return kind if count == len(names) or (not strict and 2 * count > len(names)) else ""


def field_of(kind: str) -> str:
    """The field of a pattern for folders of this kind, such as ``fold``; ``*`` for others."""
    return _KINDS[kind][1] if kind else "*"


def _are_counted(names: Collection[str]) -> bool:
    """Whether the names are numbers counted from 0 or 1, without leading zeros."""
    counted = {str(number) for number in range(len(names) + 1)}
    first = {"0"} & set(names)
    return len(names) > 1 and set(names) <= (counted - {str(len(names))} if first else counted)
