"""Which level of a tree of folders is the label: a folder a label, or a folder a split above.

A level is never guessed. Where it is not clear, the error says with which pattern the labels are
read.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.annotations.annotation import AnnotationError
from earful.data.annotations.folder_names import common_kind, field_of, kind_of
from earful.data.errors import command
from earful.data.labels.split_words import normalise_splits

_MAX_NAMES = 4


@dataclass(frozen=True)
class FolderLayout:
    """The level of the label folders below the source (0: the first), and the splits by word.

    ``splits`` is empty without folders of splits, which are the level above the labels.
    """

    label_level: int
    splits: dict[str, str]
    notes: tuple[str, ...]


def find_layout(
    source: Path, folders: Collection[tuple[str, ...]], *, several_labels: bool
) -> FolderLayout:
    """The layout of recordings in these folders: the names from ``source`` down, one or more.

    ``several_labels`` refuses a single label, from which nothing can be learned.

    Raises:
        AnnotationError: the folders are no labels, or it is not clear which of them are.
    """
    top = _common_levels(folders)
    names = {names[top] for names in folders}
    depths = {len(names) - top for names in folders}
    if len(depths) > 1:
        raise AnnotationError(_mixed_depths(source, folders))
    notes = _top_notes(source, next(iter(folders)), top)
    splits = normalise_splits(names)
    is_split = set(splits) == names
    if depths == {2} and is_split:
        inner = {names[top + 1] for names in folders}
        _check_labels(source, inner, ("*",) * top + ("split",), several_labels=several_labels)
        return FolderLayout(top + 1, splits, (*notes, *_odd_notes(inner)))
    if depths != {1}:
        raise AnnotationError(_too_deep(source, folders, top))
    _check_labels(source, names, ("*",) * top, several_labels=several_labels)
    return FolderLayout(top, {}, (*notes, *_odd_notes(names)))


def _common_levels(folders: Collection[tuple[str, ...]]) -> int:
    """How many outer levels have one folder that holds all, with folders below."""
    level = 0
    while (
        all(len(names) > level + 1 for names in folders)
        and len({names[level] for names in folders}) == 1
    ):
        level += 1
    return level


def _top_notes(source: Path, names: Sequence[str], top: int) -> tuple[str, ...]:
    if not top:
        return ()
    return (f"labels are the folders below {source.joinpath(*names[:top])}",)


def _odd_notes(names: Collection[str]) -> tuple[str, ...]:
    """A note for each label that looks like none, where the others do."""
    odd = sorted(name for name in names if kind_of(name) in ("kinds of files", "folds", "sessions"))
    return tuple(f"the folder {name!r} is taken for a label; is it one?" for name in odd)


def _check_labels(
    source: Path, names: Collection[str], outer: tuple[str, ...], *, several_labels: bool
) -> None:
    """Refuse folders that are no labels: a single one, or folds, speakers, splits, ...

    Raises:
        AnnotationError: they are no labels.
    """
    kind = common_kind(names)
    if kind:
        pattern = _pattern(*outer, field_of(kind), name="{label}_{*}")
        raise AnnotationError(
            f"the folders of {source} are {kind} ({_list(names)}), not labels. Where the label is "
            f"in the file names, say where: {_suggest(source, pattern)}; where it is in a table, "
            "give the table; where the folders are the labels, use "
            f"--pattern '{_pattern(*outer, 'label')}'"
        )
    if several_labels and len(names) == 1:
        pattern = _pattern(*outer, "*", name="{label}_{*}")
        raise AnnotationError(
            f"all recordings of {source} lie in one folder, {next(iter(names))!r}, and training "
            "needs two labels or more. Add folders of other labels, or say where in the names the "
            f"label is: {_suggest(source, pattern)}"
        )


def _too_deep(source: Path, folders: Collection[tuple[str, ...]], top: int) -> str:
    first = source.joinpath(*min(folders))
    return (
        f"the recordings of {source} lie in folders of folders (the first: {first}), and it is not "
        f"clear which are labels; say it: {_suggest(source, _guess_pattern(folders, top))}"
    )


def _guess_pattern(folders: Collection[tuple[str, ...]], top: int) -> str:
    """A pattern to start from: the label is the innermost level that may hold labels."""
    depth = len(next(iter(folders)))
    levels = [{names[level] for names in folders} for level in range(depth)]
    fields = [field_of(common_kind(names)) if common_kind(names) else "" for names in levels]
    candidates = [level for level in range(top, depth) if not fields[level]]
    fields = [field or "*" for field in fields]
    fields = [field if field not in fields[:level] else "*" for level, field in enumerate(fields)]
    if not candidates:
        return _pattern(*fields, name="{label}_{*}")
    label = candidates[-1]
    if len(candidates) > 1 and _is_unique(folders, label):
        label = candidates[-2]
    fields[label] = "label"
    return _pattern(*fields)


def _is_unique(folders: Collection[tuple[str, ...]], level: int) -> bool:
    """Whether no name of a level is in two outer folders, and some outer folder has several.

    Labels are in every outer folder, names of sessions in one.
    """
    pairs = {(names[:level], names[level]) for names in folders}
    outer = {pair[0] for pair in pairs}
    return len({pair[1] for pair in pairs}) == len(pairs) > len(outer)


def _mixed_depths(source: Path, folders: Collection[tuple[str, ...]]) -> str:
    shallow = min(folders, key=lambda names: (len(names), names))
    deep = max(folders, key=len)
    depth = Counter(map(len, folders)).most_common(1)[0][0]
    pattern = _pattern(*["*"] * (depth - 1), "label")
    return (
        f"the recordings of {source} lie at several depths ({source.joinpath(*shallow)} and "
        f"{source.joinpath(*deep)}), and it is not clear which folders are labels; move them to "
        f"one depth, or read one: {_suggest(source, pattern, '--skip-bad')}"
    )


def _pattern(*fields: str, name: str = "{*}") -> str:
    return "/".join([*(f"{{{field}}}" for field in fields), name])


def _suggest(source: Path, pattern: str, *flags: str) -> str:
    return command("prepare", source, "--pattern", pattern, "--out", "DATASET", *flags)


def _list(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_MAX_NAMES])
    return shown + (", ..." if len(names) > _MAX_NAMES else "")
