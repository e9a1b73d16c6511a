"""Foreign JSON: a list of objects, one object, or a folder with an object a file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from earful.data.annotations.annotation import AnnotationError
from earful.data.annotations.tracks import read_text, track_files


def read_objects(source: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each object stands, and the object.

    Raises:
        AnnotationError: a file that cannot be read, is no JSON, or holds something else.
    """
    for path in track_files(source, ".json"):
        value = _parse(path)
        objects = value if isinstance(value, list) else [value]
        for number, item in enumerate(objects, 1):
            if not isinstance(item, dict):
                raise AnnotationError(
                    f"{path} is no export of Label Studio: a list of tasks is wanted, and number "
                    f"{number} is {type(item).__name__}"
                )
            yield (f"{path}, task {number}" if isinstance(value, list) else str(path)), item


def _parse(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path} is no JSON: {error}; export it again from Label Studio"
        ) from error
