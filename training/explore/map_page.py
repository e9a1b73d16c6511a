"""The map as one self-contained HTML file.

Data is embedded as JSON escaped so that it cannot close a ``<script>``. The page inserts names as
text only, and its content security policy allows only its own script and style.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from earful.data.atomic_write import OutputError, write_text
from earful.data.labels.text_file import LabelsError
from earful.training.explore.clip_map import TOP_OUTLIERS, ClipMap, MapView
from earful.training.reports.clip_media import (
    MapAudioOptions,
    clip_audio_urls,
    crop_to_clip,
    encode_spectrogram,
)
from earful.training.reports.html_page import render_page

ColorBy = Literal["label", "speaker", "split", "error"]
_GRID_SIZE = 10_000  # coordinates are whole numbers from 0 to this


@dataclass(frozen=True)
class PageStats:
    """Size of the page, and the number of clips with embedded, linked and no audio."""

    size_bytes: int
    embedded: int
    linked: int
    without_audio: int

    def audio_note(self) -> str:
        """Where the audio is; empty when all of it is embedded."""
        if not self.linked + self.without_audio:
            return ""
        parts = [f"audio of {self.embedded:,} clips is embedded in the page"]
        if self.linked:
            parts.append(f"{self.linked:,} are played from their files, which must not be moved")
        if self.without_audio:
            parts.append(
                f"{self.without_audio:,} have no audio (--audio-mb embeds more, --audio-dir gives "
                "the folder of the files)"
            )
        return "; ".join(parts)


def write_map_page(
    clip_map: ClipMap, out: Path, color_by: ColorBy, audio_options: MapAudioOptions
) -> PageStats:
    """Write the page; ``color_by`` is the initial colouring of the points.

    Raises:
        DatasetError: the dataset is damaged.
        OutputError: ``out`` cannot be written.
    """
    top_outliers = [i for view in clip_map.views for i in view.outliers.top(TOP_OUTLIERS)]
    audio_urls = clip_audio_urls(clip_map.dataset, clip_map.shown, top_outliers, out, audio_options)
    embedded, linked = (sum(s.startswith(kind) for s in audio_urls) for kind in ("data:", "."))
    stats = PageStats(0, embedded, linked, len(audio_urls) - embedded - linked)
    notes = [*clip_map.notes, *filter(None, [stats.audio_note()])]
    page = render_page(
        "map/page.html",
        linked_audio=True,
        name=clip_map.dataset.folder.resolve().name,
        clip_map=clip_map,
        speakers=len(set(clip_map.dataset.clips["speaker"]) - {""}),
        notes=notes,
        data=script_safe_json(_page_data(clip_map, color_by)),
        sounds=script_safe_json(audio_urls),
    )
    write_text(out, page)
    return replace(stats, size_bytes=out.stat().st_size)


def script_safe_json(value: Any) -> Markup:
    """JSON that is safe inside a ``<script>``: ASCII, with ``<``, ``>`` and ``&`` escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _page_data(clip_map: ClipMap, color_by: ColorBy) -> dict[str, Any]:
    """The data of the page as columns with one entry per shown clip."""
    clips = clip_map.dataset.clips.iloc[clip_map.shown]
    log_mel = clip_map.dataset.array("log_mel")
    spectrograms = [
        encode_spectrogram(crop_to_clip(np.asarray(log_mel[row]), clip_map.dataset, seconds))
        for row, seconds in zip(clip_map.shown, clips["seconds"], strict=True)
    ]
    predictions = next(
        (v.embedding.predictions for v in clip_map.views if v.embedding.predictions), None
    )
    correct = predictions.correct(clip_map.dataset.clips["label"].tolist()) if predictions else []
    scores = predictions.scores[clip_map.shown].tolist() if predictions else []
    return {
        "colorBy": color_by,
        "file": clips["filename"].tolist(),
        "label": clips["label"].tolist(),
        "speaker": clips["speaker"].tolist(),
        "split": clips["split"].tolist(),
        "seconds": [round(float(s), 3) for s in clips["seconds"]],
        "spectrogram": spectrograms,
        "labels": list(clip_map.dataset.labels),
        "predicted": [predictions.labels[i] for i in clip_map.shown] if predictions else None,
        "score": [round(score, 4) for score in scores] if predictions else None,
        "correct": [correct[i] for i in clip_map.shown] if predictions else None,
        "views": [_view_data(view, clip_map) for view in clip_map.views],
    }


def _view_data(view: MapView, clip_map: ClipMap) -> dict[str, Any]:
    low, high = view.coordinates.min(axis=0), view.coordinates.max(axis=0)
    span = float((high - low).max()) or 1.0
    grid = np.rint(((view.coordinates - (low + high) / 2) / span + 0.5) * _GRID_SIZE).astype(int)
    scores, shown = view.outliers, clip_map.shown
    return {
        "kind": view.embedding.kind,
        "source": view.embedding.source,
        "dimensions": view.embedding.vectors.shape[1],
        "purity": view.purity,
        "purityOnMap": view.purity_on_map,
        "neighbours": clip_map.neighbours,
        "x": grid[:, 0].tolist(),
        "y": grid[:, 1].tolist(),
        "disagreement": np.round(scores.disagreement[shown], 4).tolist(),
        "suggested": [clip_map.dataset.labels[i] for i in scores.suggested[shown]],
        "distance": np.round(scores.distance[shown], 3).tolist(),
    }


def check_map_outputs(out: Path, points: Path | None, audio_dir: Path | None) -> None:
    """Check the paths of ``earful map`` before any work.

    Raises:
        OutputError: an output is a folder, or both outputs are the same file.
        LabelsError: ``audio_dir`` is not a folder.
    """
    if audio_dir is not None and not audio_dir.is_dir():
        raise LabelsError(
            f"{audio_dir} is not a folder; give the folder of the audio files as --audio-dir"
        )
    for path in filter(None, (out, points)):
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file name")
    if points is not None and points.resolve() == out.resolve():
        raise OutputError(
            f"{out} is the output of the page and of the points; give another --points"
        )


def summary_lines(clip_map: ClipMap) -> Iterator[str]:
    """Purity and outliers of each embedding, one line each."""
    for view in clip_map.views:
        yield (
            f"{view.embedding.kind} ({view.embedding.source}): {100 * view.purity:.1f} % of the "
            f"{clip_map.neighbours} nearest neighbours have the clip's label, "
            f"{100 * view.purity_on_map:.1f} % on the map; neighbours of "
            f"{int((view.outliers.disagreement > 0).sum()):,} clips suggest another label"
        )
