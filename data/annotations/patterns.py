"""Labels in file names: ``{label}_{speaker}_{n}.wav``.

A field matches one or more characters, ``{n}`` digits only. ``{label}``, ``{speaker}``,
``{split}`` and ``{fold}`` are used, other fields are ignored. A pattern with a slash matches the
path below the folder, else the file name. A name that matches in several ways is a problem, not a
guess.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.folder_files import is_audio, list_files
from earful.data.annotations.folder_names import BACKGROUND_FOLDER
from earful.data.annotations.folders import background_notes
from earful.data.labels.clip import Clip, ClipProblem, Provenance
from earful.data.labels.split_words import normalise_splits

FORMAT = "pattern"
KEPT_FIELDS = ("label", "speaker", "split", "fold")
NUMBER_FIELD = "n"
FieldValues = tuple[tuple[str, str], ...]
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|\*)\}")


@dataclass(frozen=True)
class Pattern:
    """Alternating literal texts and fields: ``parts`` has one item more than ``fields``."""

    text: str
    parts: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Parse a pattern of the user.

        Raises:
            AnnotationError: a pattern without ``{label}``, or an ambiguous one.
        """
        pieces = _FIELD.split(text)
        parts, fields = tuple(pieces[::2]), tuple(pieces[1::2])
        if "label" not in fields or any(fields.count(name) > 1 for name in KEPT_FIELDS):
            raise AnnotationError(
                f"a pattern contains {{label}} once, as in {{label}}_{{speaker}}_{{n}}.wav; found "
                f"{text!r}"
            )
        if any("{" in part or "}" in part for part in parts):
            raise AnnotationError(f"a field is {{name}} or {{*}}; found {text!r}")
        if "" in parts[1:-1]:
            raise AnnotationError(f"two fields need a text between them; found {text!r}")
        return cls(text, parts, fields)

    def parses(self, name: str) -> list[dict[str, str]]:
        """Up to two different ways to match a name, as field values: none, one or two."""

        @cache
        def parse_from(field: int, position: int) -> tuple[FieldValues, ...]:
            if field == len(self.fields):
                return ((),) if position == len(name) else ()
            key = self.fields[field]
            results: dict[FieldValues, None] = {}
            for end in self._ends(name, field, position):
                own = ((key, name[position:end]),) if key in KEPT_FIELDS else ()
                after = end + len(self.parts[field + 1])
                results |= {own + rest: None for rest in parse_from(field + 1, after)}
                if len(results) > 1:
                    break
            return tuple(results)[:2]

        start = len(self.parts[0])
        return [dict(r) for r in parse_from(0, start)] if name.startswith(self.parts[0]) else []

    def _ends(self, name: str, field: int, position: int) -> Iterator[int]:
        """Possible ends of a field that starts at ``position``: before the next literal text."""
        literal = self.parts[field + 1]
        for end in range(position + 1, len(name) + 1):
            character = name[end - 1]
            number = self.fields[field] == NUMBER_FIELD
            if character == "/" or (number and not (character.isascii() and character.isdigit())):
                return
            if name.startswith(literal, end):
                yield end


def read_pattern(source: Path, pattern: str) -> AnnotationSet:
    """Read the recordings below a folder, labelled by their file names.

    Raises:
        AnnotationError: the pattern or the folder cannot be used.
    """
    parsed = Pattern.parse(pattern)
    collected = AnnotationSet()
    folder = source if source.is_dir() else source.parent
    matched: list[tuple[Path, dict[str, str]]] = []
    background: list[Path] = []
    for path in _recordings(source, collected):
        name = path.relative_to(folder).as_posix() if "/" in pattern else path.name
        parses = parsed.parses(name)
        if len(parses) != 1:
            collected.problems.append(_parse_problem(path, pattern, parses))
        elif parses[0]["label"] == BACKGROUND_FOLDER:
            background.append(path)
        else:
            matched.append((path, parses[0]))
    collected.notes += background_notes(background)
    for annotation in _annotations(matched, Provenance(f"{FORMAT}:{pattern}")):
        collected.add(annotation)
    return collected


def _annotations(
    matched: Sequence[tuple[Path, dict[str, str]]], provenance: Provenance
) -> Iterator[Clip]:
    """The matched recordings; ``training``, ``dev``, ... are normalised, given all of them."""
    splits = normalise_splits({fields.get("split", "") for _, fields in matched})
    for path, fields in matched:
        split = fields.get("split", "")
        yield Clip(
            line=0,
            filename=str(path),
            path=path,
            label=fields["label"],
            speaker=fields.get("speaker", ""),
            split=splits.get(split, split),  # an unknown word is a problem when it is added
            fold=fields.get("fold", ""),
            provenance=provenance,
        )


def _recordings(source: Path, collected: AnnotationSet) -> list[Path]:
    """The recordings of a folder or a file; ``collected`` gets a report on other files."""
    if not source.is_dir():
        recordings, others = ([source], []) if is_audio(source) else ([], [source])
    else:
        files = list_files(source)
        recordings, others = list(files.recordings), list(files.others)
        collected.notes += files.notes()
    collected.skip_other_files(others)
    return recordings


def _parse_problem(path: Path, pattern: str, parses: Sequence[dict[str, str]]) -> ClipProblem:
    if not parses:
        return ClipProblem(
            0, str(path), "no_match", f"the name does not match the pattern {pattern!r}"
        )
    alternatives = " or ".join(
        ", ".join(f"{k} {v!r}" for k, v in parse.items()) for parse in parses
    )
    return ClipProblem(
        0, str(path), "ambiguous", f"the pattern {pattern!r} matches as {alternatives}"
    )
