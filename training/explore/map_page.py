"""The map as one HTML file: it needs no other file and no network.

Data go into the page as JSON in which no character can end a script; names are shown as text and
never as markup, and a policy in the page's head allows its own script and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from earful.data.atomic_write import OutputError, staged_file
from earful.data.labels.labels_csv import LabelsError
from earful.training.explore.clip_map import FOREMOST, ClipMap, View
from earful.training.reports.clip_media import Sound, picture, sounds, voiced
from earful.training.reports.html_clips import templates

Colour = Literal["label", "speaker", "split", "error"]
_GRID = 10_000  # coordinates are whole numbers from 0 to this
_PARTS = Path(__file__).parents[1] / "reports" / "templates" / "map"


@dataclass(frozen=True)
class Written:
    """The page: its size, how many clips are heard from it, by a link, and not at all."""

    bytes: int
    embedded: int
    linked: int
    silent: int

    def note(self) -> str:
        """Where the sound is, for a person; empty when all of it is in the page."""
        if not self.linked + self.silent:
            return ""
        parts = [f"{self.embedded:,} clips can be heard from this page alone"]
        if self.linked:
            parts.append(f"{self.linked:,} are played from their files, which must stay in place")
        if self.silent:
            parts.append(
                f"{self.silent:,} cannot be heard (--audio-mb puts more into the page, "
                "--audio-dir says where the files are)"
            )
        return "; ".join(parts)


def write_page(found: ClipMap, out: Path, colour: Colour, sound: Sound) -> Written:
    """Write the page; ``colour`` is what the points are coloured by when it is opened.

    Raises:
        DatasetError: the dataset's files do not agree.
        OutputError: ``out`` cannot be written.
    """
    foremost = [i for view in found.views for i in view.outliers.foremost(FOREMOST)]
    heard = sounds(found.dataset, found.shown, foremost, out, sound)
    embedded, linked = (sum(s.startswith(kind) for s in heard) for kind in ("data:", "."))
    written = Written(0, embedded, linked, len(heard) - embedded - linked)
    notes = [*found.notes, *filter(None, [written.note()])]
    style = (_PARTS / "style.css").read_text("utf-8")
    script = "\n".join((_PARTS / name).read_text("utf-8") for name in ("plot.js", "page.js"))
    page = (
        templates()
        .get_template("map/page.html")
        .render(
            name=found.dataset.folder.resolve().name,
            found=found,
            speakers=len(set(found.dataset.clips["speaker"]) - {""}),
            notes=notes,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own files
            policy=_policy(style, script),
            data=harmless_json(_data(found, colour)),
            sounds=harmless_json(heard),
        )
    )
    with staged_file(out) as staging:
        staging.write_text(page, encoding="utf-8")
        size = staging.stat().st_size
    return replace(written, bytes=size)


def harmless_json(value: Any) -> Markup:
    """JSON that can stand inside a ``<script>``: ASCII, and nothing that HTML would read."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made harmless above


def _policy(style: str, script: str) -> str:
    """What the page may load: itself, and sound. Whatever a name holds, it runs nothing."""

    def allowed(text: str) -> str:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return f"'sha256-{digest}'"

    return (
        f"default-src 'none'; script-src {allowed(script)}; style-src {allowed(style)}; "
        "media-src data: file: 'self'; base-uri 'none'; form-action 'none'"
    )


def _data(found: ClipMap, colour: Colour) -> dict[str, Any]:
    """All that the page shows, as columns: an entry a clip on the map."""
    clips = found.dataset.clips.iloc[found.shown]
    log_mel = found.dataset.array("log_mel")
    pictures = [
        picture(voiced(np.asarray(log_mel[row]), found.dataset, seconds))
        for row, seconds in zip(found.shown, clips["seconds"], strict=True)
    ]
    answers = next((v.embedding.answers for v in found.views if v.embedding.answers), None)
    judged = answers.right(found.dataset.clips["label"].tolist()) if answers else []
    return {
        "colour": colour,
        "file": clips["filename"].tolist(),
        "label": clips["label"].tolist(),
        "speaker": clips["speaker"].tolist(),
        "split": clips["split"].tolist(),
        "seconds": [round(float(s), 3) for s in clips["seconds"]],
        "picture": pictures,
        "labels": list(found.dataset.labels),
        "answer": [answers.labels[i] for i in found.shown] if answers else None,
        "score": [round(float(answers.scores[i]), 4) for i in found.shown] if answers else None,
        "right": [judged[i] for i in found.shown] if answers else None,
        "views": [_view_data(view, found) for view in found.views],
    }


def _view_data(view: View, found: ClipMap) -> dict[str, Any]:
    low, high = view.coordinates.min(axis=0), view.coordinates.max(axis=0)
    span = float((high - low).max()) or 1.0
    whole = np.rint(((view.coordinates - (low + high) / 2) / span + 0.5) * _GRID).astype(int)
    scores, shown = view.outliers, found.shown
    return {
        "kind": view.embedding.kind,
        "source": view.embedding.source,
        "dimensions": view.embedding.vectors.shape[1],
        "purity": view.purity,
        "purityOnMap": view.purity_on_map,
        "neighbours": found.neighbours,
        "x": whole[:, 0].tolist(),
        "y": whole[:, 1].tolist(),
        "disagreement": np.round(scores.disagreement[shown], 4).tolist(),
        "suggested": [found.dataset.labels[i] for i in scores.suggested[shown]],
        "distance": np.round(scores.distance[shown], 3).tolist(),
    }


def check_places(out: Path, points: Path | None, audio_dir: Path | None) -> None:
    """Refuse before any work what could not be written or found after it.

    Raises:
        OutputError: a folder, or one file for both.
        LabelsError: ``audio_dir`` is no folder.
    """
    if audio_dir is not None and not audio_dir.is_dir():
        raise LabelsError(f"{audio_dir} is no folder; give that of the audio files as --audio-dir")
    for path in filter(None, (out, points)):
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file")
    if points is not None and points.resolve() == out.resolve():
        raise OutputError(f"{out} cannot hold the page and the points; give another --points")


def lines(found: ClipMap) -> Iterator[str]:
    """What a person is told of the map, a line an embedding."""
    for view in found.views:
        yield (
            f"{view.embedding.kind} ({view.embedding.source}): {100 * view.purity:.1f} % of the "
            f"{found.neighbours} nearest neighbours have the clip's label, "
            f"{100 * view.purity_on_map:.1f} % on the map; neighbours disagree with "
            f"{int((view.outliers.disagreement > 0).sum()):,} clips"
        )
