"""The words of the field for training, validation and test parts."""

from collections.abc import Iterable

_TRAIN = frozenset({"train", "training", "trn", "tr"})
_VAL = frozenset({"val", "valid", "validation", "validate", "vali", "cv"})
_TEST = frozenset({"test", "testing", "tst", "te", "holdout"})
# They mean another part in other datasets: DCASE trains on its development set and tests on its
# evaluation set; Hugging Face and LibriSpeech validate on dev.
_DEVELOPMENT = frozenset({"dev", "devel", "development"})
_EVALUATION = frozenset({"eval", "evaluation", "evaluate"})
SPLIT_WORDS = _TRAIN | _VAL | _TEST | _DEVELOPMENT | _EVALUATION


def is_split_word(text: str) -> bool:
    """Whether a text is a word for a part, in any case."""
    return text.strip().lower() in SPLIT_WORDS


def normalise_splits(words: Iterable[str]) -> dict[str, str]:
    """``train``, ``val`` or ``test`` by word, of the words that occur together in one dataset.

    Words that are none for a part are left out. ``dev`` is the validation part, and the training
    part where nothing else is; ``eval`` is the test part, and the validation part beside a test
    part, if that has no word of its own.
    """
    spelled = {word: word.strip().lower() for word in words}
    found = frozenset(spelled.values())
    development = "val" if found & _TRAIN else "train"
    evaluation = "val" if found & _TEST and not found & (_VAL | _DEVELOPMENT) else "test"
    meanings = (
        (_TRAIN, "train"), (_VAL, "val"), (_TEST, "test"),
        (_DEVELOPMENT, development), (_EVALUATION, evaluation),
    )  # fmt: skip
    return {
        word: split for word, text in spelled.items() for known, split in meanings if text in known
    }
