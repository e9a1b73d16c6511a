"""Writes rows as Audacity label tracks or Raven selection tables, one file per recording.

``data.annotations`` formats the lines, and reads them too.
"""

import os
from pathlib import Path

from earful.data.annotations import audacity, raven
from earful.data.annotations.audacity import track_line
from earful.data.annotations.raven import selection_line
from earful.data.annotations.tracks import track_path
from earful.service.batch.formats import CsvWriter, RowLayout
from earful.service.batch.rows import ResultRow
from earful.service.core.defaults import SCORE_DIGITS


class FolderWriter:
    """One label track or selection table per recording, and ``index.csv`` with all rows.

    A recording without a hit gets an empty one; an unreadable recording is in the index only.
    """

    def __init__(self, folder: Path, layout: RowLayout, index: CsvWriter) -> None:
        self._folder, self._layout, self._index = folder, layout, index
        self._raven = layout.format_name == raven.FORMAT
        self._suffix = raven.SUFFIX if self._raven else audacity.SUFFIX
        self._name = ""
        self._path = folder
        self._number = 0

    def write(self, row: ResultRow) -> None:
        self._index.write(row)
        if row.error:
            return
        if row.filename != self._name:
            self._name, self._number = row.filename, 0
            relative = Path(os.path.relpath(row.filename, self._layout.common_folder))
            self._path = track_path(self._folder, relative, self._suffix)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            header = f"{raven.HEADER}\tScore\n" if self._raven else ""
            self._path.write_text(header, encoding="utf-8")
        if row.label:
            self._number += 1
            line = self._line(row)
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(line)

    def _line(self, row: ResultRow) -> str:
        start, end = row.start or 0.0, row.end or 0.0
        if not self._raven:
            return track_line(start, end, row.label)
        score = f"{row.score or 0.0:.{SCORE_DIGITS}f}"
        return selection_line(
            self._number, start, end, self._layout.max_hz, row.filename, [row.label, score]
        )
