"""The words for the parts of a split: ``training``, ``dev``, ``eval``, ... are train, val, test."""

from collections.abc import Iterable

_TRAIN = frozenset({"train", "training", "trn"})
_VALIDATION = frozenset({"val", "valid", "validate", "validation"})
# Between training and test a validation part; beside a test part alone, what is trained on (DCASE).
_DEVELOPMENT = frozenset({"dev", "devel", "development"})
_TEST = frozenset({"test", "testing", "tst", "eval", "evaluation", "evaluate"})
SPLIT_WORDS = _TRAIN | _VALIDATION | _DEVELOPMENT | _TEST


def normalise_splits(words: Iterable[str]) -> dict[str, str]:
    """``train``, ``val`` or ``test`` for each word that names a part, given all that are used.

    Case and blanks around a word are ignored. ``dev`` is the training part where there is none and
    there is a test or another validation part, else the validation part. Unknown words are absent.
    """
    by_word = {word: word.strip().lower() for word in words}
    known = set(by_word.values()) & SPLIT_WORDS
    trains_on_dev = not known & _TRAIN and bool(known & (_TEST | _VALIDATION))
    development = "train" if trains_on_dev else "val"
    parts = {
        **dict.fromkeys(_TRAIN, "train"),
        **dict.fromkeys(_VALIDATION, "val"),
        **dict.fromkeys(_DEVELOPMENT, development),
        **dict.fromkeys(_TEST, "test"),
    }
    return {word: parts[key] for word, key in by_word.items() if key in parts}
