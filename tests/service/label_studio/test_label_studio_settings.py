"""The EARFUL_LABEL_STUDIO_* settings."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from earful.service.core.settings import Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_studio_root": "/no/such"}, "LABEL_STUDIO_ROOT"),
        ({"label_studio_url": "ftp://x"}, "LABEL_STUDIO_URL"),
        ({"label_studio_url": "http://user:pass@x"}, "LABEL_STUDIO_URL"),
        ({"label_studio_url": "http://x?y=1"}, "LABEL_STUDIO_URL"),
        ({"label_studio_url": "http://x:99999"}, "LABEL_STUDIO_URL"),
        ({"label_studio_token": "t"}, "LABEL_STUDIO_TOKEN"),
        ({"label_studio_min_score": 2}, "label_studio_min_score"),
    ],
)
def test_invalid_settings_are_refused(model: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(model=model, **values)
