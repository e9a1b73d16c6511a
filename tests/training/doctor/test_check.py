"""``earful check`` as it is used: exit codes, text, JSON, the page and the CSV to review."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from earful.data.errors import EarfulError
from earful.data.labels.labels_csv import read_labels
from earful.training.cli import build_app
from tests.fixtures.sounds import PITCHES_HZ, noise, tone, wav

HOSTILE = "<b>x\x1b[31m=1.wav"


def check(*arguments: object) -> Result:
    done = CliRunner().invoke(build_app(), ["check", *map(str, arguments)])
    if isinstance(done.exception, EarfulError):
        raise done.exception
    return done


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """Three labels of ten clips."""
    rows = ["filename,label"]
    generator = np.random.default_rng(0)
    for label in PITCHES_HZ:
        for n in range(10):
            word = tone(label, float(generator.uniform(0.3, 0.6)))
            sound = word + noise(0.6, 0.01, len(rows))[: len(word)]
            (tmp_path / f"{label}{n}.wav").write_bytes(wav(sound))
            rows.append(f"{label}{n}.wav,{label}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sick(healthy: Path) -> Path:
    """One wrong label (line 5), and rows 32 on: silence, a slip, a bad row, a file that is gone."""
    folder, text = healthy.parent, healthy.read_text("utf-8")
    (folder / HOSTILE).write_bytes(wav(np.zeros(4_000)))
    (folder / "slip.wav").write_bytes(wav(tone("high", 0.5) + noise(0.5, 0.01, 99)))
    more = f"{HOSTILE},low\nslip.wav,hihg\nlow1.wav,\ngone.wav,low\n"
    healthy.write_text(text.replace("low3.wav,low", "low3.wav,high") + more, encoding="utf-8")
    return healthy


def test_a_healthy_set_needs_no_attention(healthy: Path) -> None:
    done = check(healthy)
    assert done.exit_code == 0
    assert done.stdout.endswith("no problem found\n")
    assert "30 rows, 30 usable, 3 labels" in done.stdout
    assert "30 clips judged by the others" in done.stdout


def test_all_that_is_wrong_is_told_with_its_line(sick: Path) -> None:
    done = check(sick)
    assert done.exit_code == 1
    for told in (
        "line 5, low3.wav: called 'high', sounds like 'low'",
        "line 32, <b>x\\x1b[31m=1.wav: digital silence",
        "line 33, slip.wav: 'hihg' (1 clip) is nearly 'high' (11 clips)",
        "line 34, low1.wav: column label, value '': the label is empty",
        "line 35, gone.wav: no such file",
    ):
        assert told in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("3 errors, 3 warnings\n")


def test_the_json_holds_what_the_text_holds(sick: Path) -> None:
    done = check(sick, "--json")
    found = json.loads(done.stdout)
    assert (found["rows"], found["usable"], found["needs_attention"]) == (34, 32, True)
    assert [p["code"] for p in found["problems"]] == ["lonely_label", "bad_row", "not_found"]
    assert {p["line"] for p in found["problems"]} == {33, 34, 35}
    assert {(f["code"], f["line"]) for f in found["findings"]} == {
        ("wrong_label", 5), ("silent", 32), ("label_typo", 33), ("lonely_label", 33),
        ("bad_row", 34), ("not_found", 35),
    }  # fmt: skip
    suspect = next(f for f in found["findings"] if f["code"] == "wrong_label")
    assert (suspect["label"], suspect["suggested"], suspect["severity"]) == (
        "high", "low", "warning",
    )  # fmt: skip
    assert 0.5 < suspect["confidence"] <= 1
    assert suspect["advice"]
    assert found["wrong_labels"]["clips"] == 31


def test_wrong_labels_need_not_be_looked_for(sick: Path) -> None:
    found = json.loads(check(sick, "--json", "--no-wrong-labels").stdout)
    assert "wrong_label" not in {f["code"] for f in found["findings"]}
    assert found["wrong_labels"]["share"] is None
    assert "--no-wrong-labels" in found["wrong_labels"]["reason"]


def test_the_page_needs_nothing_else_and_trusts_no_name(sick: Path) -> None:
    page = sick.with_name("page.html")
    assert check(sick, "--html", page).exit_code == 1
    text = page.read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text
    assert text.count("data:audio/wav") == 4  # the suspect, silence, and twice the slip
    assert re.search(r"<b>high</b> → <b class=\"bad\">low</b>", text)
    check(sick, "--html", page, "--clips", 0)
    assert "data:audio" not in page.read_text("utf-8")


def test_suggestions_are_labels_to_review(sick: Path, tmp_path: Path) -> None:
    out = tmp_path / "review.csv"
    check(sick, "--suggestions", out)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["filename"], r["label"], r["suggested"], r["line"]) for r in rows] == [
        ("low3.wav", "high", "low", "5"), ("slip.wav", "hihg", "high", "33"),
    ]  # fmt: skip
    assert float(rows[0]["confidence"]) > 0.5
    assert [clip.label for clip in read_labels(out).clips] == ["high", "hihg"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--suggestions", "labels.csv"], "holds the labels"),
        (["--html", "low1.wav"], "ends in .html, found low1.wav"),
        (["--suggestions", "low1.wav"], "ends in .csv, found low1.wav"),
        (["--html", "low1.wav/a.html"], "cannot write"),
        (["--audio-dir", "nowhere"], "is no folder"),
    ],
)
def test_bad_usage_is_told_and_nothing_is_written(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(healthy.parent)
    before = {path: path.read_bytes() for path in healthy.parent.iterdir()}
    with pytest.raises(EarfulError, match=told):
        check("labels.csv", *arguments)
    assert {path: path.read_bytes() for path in healthy.parent.iterdir()} == before


def test_many_findings_of_a_kind_are_cut_on_the_screen_only(healthy: Path) -> None:
    rows = "".join(f"gone{n}.wav,low\n" for n in range(15))
    healthy.write_text(healthy.read_text("utf-8") + rows, encoding="utf-8")
    assert "  and 5 more\n" in check(healthy, "--no-wrong-labels").stdout
    assert len(json.loads(check(healthy, "--no-wrong-labels", "--json").stdout)["findings"]) == 15
