"""Every malformed file through HTTP and the command line: its code, and no effect on others."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from earful.service.core.errors import http_status
from tests.fixtures.malformed_audio import MALFORMED_AUDIO, cut_headers
from tests.fixtures.synthetic_audio import tone, wav
from tests.service.conftest import Client

URL = "/v1/classify"
GOOD = wav(tone("high"))


@pytest.fixture(scope="module")
def client(open_client: Callable[..., Any], model: Path) -> Any:
    """A service with its default limits but that on length."""
    return open_client(model=model, max_seconds=60)


@pytest.mark.parametrize("name", MALFORMED_AUDIO)
def test_malformed_files_over_http_leave_good_ones_unaffected(client: Client, name: str) -> None:
    content, code = MALFORMED_AUDIO[name]
    files = [("file", (n, c)) for n, c in (("a", GOOD), ("bad", content), ("b", GOOD))]
    answer = client.post(URL, files=files)
    assert answer.status_code == 200
    before, bad, after = answer.json()["results"]
    assert before["label"] == after["label"] == "high"
    assert bad.get("error", {}).get("code") == code
    alone = client.post(URL, content=content)
    assert alone.status_code == (http_status(code) if code else 200)


def test_malformed_files_in_one_command_get_their_codes(
    earful: Callable[..., Result], model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    expected: dict[str, str] = {}
    for n, (_, (content, code)) in enumerate(MALFORMED_AUDIO.items()):
        # Local files have wider limits: an hour, and a gigabyte.
        if code != "too_long":
            (folder / f"{n:03}-bad.wav").write_bytes(content)
            expected[f"{n:03}-bad.wav"] = code or ""
            (folder / f"{n:03}-good.wav").write_bytes(GOOD)
            expected[f"{n:03}-good.wav"] = ""
    out = tmp_path / "out.csv"
    done = earful("classify", folder, "--model", model, "--out", out)
    assert done.exit_code == 1
    rows = list(csv.DictReader(out.read_text().splitlines()))
    codes = {Path(row["filename"]).name: row["error"].partition(":")[0] for row in rows}
    assert codes == expected
    good = [row["label"] for row in rows if "good" in row["filename"]]
    assert set(good) == {"high"}


def test_header_cut_anywhere_is_refused(client: Client) -> None:
    for name, content in cut_headers():
        answer = client.post(URL, content=content)
        assert answer.status_code in (415, 422), name
