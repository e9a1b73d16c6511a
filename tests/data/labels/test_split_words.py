"""The words for the parts of a split."""

import pytest

from earful.data.labels.split_words import normalise_splits


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train val test", "train val test"),
        ("training validation testing", "train val test"),
        ("Train VALID Eval", "train val test"),
        ("train dev test", "train val test"),
        ("train dev", "train val"),
        ("dev eval", "train test"),
        ("dev test", "train test"),
        ("development evaluation", "train test"),
        ("dev valid", "train val"),
        ("dev", "train"),
        ("test", "test"),
        ("train holdout", "train test"),
        ("fold1 fold2", "- -"),
    ],
)
def test_words_are_parts_given_all_that_are_used(words: str, expected: str) -> None:
    splits = normalise_splits(words.split())
    assert [splits.get(word, "-") for word in words.split()] == expected.split()


def test_an_empty_word_is_no_part() -> None:
    assert normalise_splits(["", " train "]) == {" train ": "train"}
