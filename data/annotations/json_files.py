"""Read JSON exports: a list of objects, one object, or a folder with one object per file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import AnnotationError
from earful.data.annotations.tracks import read_text, track_files


def read_objects(source: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(location, object) of each object.

    Raises:
        AnnotationError: a file cannot be read, is not JSON, or contains something else.
    """
    for path in track_files(source, ".json"):
        value = _parse(path)
        objects = value if isinstance(value, list) else [value]
        for number, item in enumerate(objects, 1):
            if not isinstance(item, dict):
                raise AnnotationError(
                    f"{path} is not an export of Label Studio, which is a list of objects: item "
                    f"{number} is {type(item).__name__}"
                )
            yield (f"{path}, task {number}" if isinstance(value, list) else str(path)), item


def _parse(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path} is not JSON: {error}; export it again from Label Studio"
        ) from error
