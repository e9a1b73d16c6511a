"""``earful check`` as it is used: exit codes, text, JSON, the page and the CSV to review."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from earful.data.errors import EarfulError
from earful.data.labels.labels_csv import read_labels
from earful.training.cli import build_app
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, tone, wav

HOSTILE = "<b>x\x1b[31m=1.wav"


def check(*arguments: object) -> Result:
    done = CliRunner().invoke(build_app(), ["check", *map(str, arguments)])
    if isinstance(done.exception, EarfulError):
        raise done.exception
    return done


@pytest.fixture
def clean_csv(tmp_path: Path) -> Path:
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
def faulty_csv(clean_csv: Path) -> Path:
    """One wrong label (line 5), and rows 32 on: silence, a slip, a bad row, a file that is gone."""
    folder, text = clean_csv.parent, clean_csv.read_text("utf-8")
    (folder / HOSTILE).write_bytes(wav(np.zeros(4_000)))
    (folder / "slip.wav").write_bytes(wav(tone("high", 0.5) + noise(0.5, 0.01, 99)))
    more = f"{HOSTILE},low\nslip.wav,hihg\nlow1.wav,\ngone.wav,low\n"
    clean_csv.write_text(text.replace("low3.wav,low", "low3.wav,high") + more, encoding="utf-8")
    return clean_csv


def test_clean_dataset_needs_no_attention(clean_csv: Path) -> None:
    done = check(clean_csv)
    assert done.exit_code == 0
    assert done.stdout.endswith("no problems found\n")
    assert "30 rows, 30 usable, 3 labels" in done.stdout
    assert "labels of 30 clips checked by spectrum and speech encoder: an" in done.stdout


def test_every_problem_is_reported_with_its_line(faulty_csv: Path) -> None:
    done = check(faulty_csv)
    assert done.exit_code == 1
    for message in (
        "line 5, low3.wav: labelled 'high', likely 'low'",
        "line 32, <b>x\\u001b[31m=1.wav: digital silence",
        "line 33, slip.wav: 'hihg' (1 clip) is similar to 'high' (11 clips)",
        "line 34, low1.wav: column label, value '': the label is empty",
        "line 35, gone.wav: no such file",
    ):
        assert message in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("3 errors, 3 warnings\n")


def test_json_report_matches_the_text_report(faulty_csv: Path) -> None:
    done = check(faulty_csv, "--json")
    found = json.loads(done.stdout)
    assert (found["rows"], found["usable"], found["needs_attention"]) == (34, 32, True)
    assert [p["code"] for p in found["problems"]] == ["single_clip_label", "bad_row", "not_found"]
    assert {p["line"] for p in found["problems"]} == {33, 34, 35}
    assert {(f["code"], f["line"]) for f in found["findings"]} == {
        ("label_error", 5),
        ("silent", 32),
        ("label_typo", 33),
        ("single_clip_label", 33),
        ("bad_row", 34),
        ("not_found", 35),
    }
    suspect = next(f for f in found["findings"] if f["code"] == "label_error")
    assert (suspect["label"], suspect["suggested"], suspect["severity"]) == (
        "high",
        "low",
        "warning",
    )
    assert 0.5 < suspect["confidence"] <= 1
    assert suspect["advice"]
    assert found["label_errors"]["clips"] == 31
    assert found["label_errors"]["compared_by"] == "spectrum and speech encoder"


def test_label_error_search_can_be_switched_off(faulty_csv: Path) -> None:
    found = json.loads(check(faulty_csv, "--json", "--no-wrong-labels").stdout)
    assert "label_error" not in {f["code"] for f in found["findings"]}
    assert found["label_errors"]["error_rate"] is None
    assert "--no-wrong-labels" in found["label_errors"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "prelude", "message"),
    [
        ("--wrong-labels", "sys.modules['torch'] = None", "needs torch; install it with: uv sync"),
        ("--no-wrong-labels", "", ""),
    ],
)
def test_check_runs_without_torch(faulty_csv: Path, flag: str, prelude: str, message: str) -> None:
    program = (
        f"import sys; {prelude}\n"
        "from earful.training.cli import build_app\n"
        f"build_app()(['check', {str(faulty_csv)!r}, {flag!r}, '--json'], standalone_mode=False)\n"
        "sys.exit(bool(sys.modules.get('torch')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert message in done.stderr
    found = json.loads(done.stdout)
    by_spectrum = flag == "--wrong-labels"
    assert found["label_errors"]["compared_by"] == ("spectrum" if by_spectrum else "")
    assert ("label_error" in {f["code"] for f in found["findings"]}) == by_spectrum


@pytest.mark.slow
def test_page_is_self_contained_and_escapes_names(faulty_csv: Path) -> None:
    page = faulty_csv.with_name("page.html")
    assert check(faulty_csv, "--html", page).exit_code == 1
    text = page.read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text
    assert text.count("data:audio/wav") == 4  # the suspect, silence, and twice the slip
    assert re.search(r"<b>high</b> → <b class=\"bad\">low</b>", text)
    check(faulty_csv, "--html", page, "--clips", 0)
    assert "data:audio" not in page.read_text("utf-8")


def test_suggestions_are_labels_to_review(faulty_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "review.csv"
    check(faulty_csv, "--suggestions", out)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["filename"], r["label"], r["suggested"], r["line"]) for r in rows] == [
        ("low3.wav", "high", "low", "5"),
        ("slip.wav", "hihg", "high", "33"),
    ]
    assert float(rows[0]["confidence"]) > 0.5
    assert [clip.label for clip in read_labels(out).clips] == ["high", "hihg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suggestions", "labels.csv"], "is the labels CSV"),
        (["--html", "low1.wav"], "ends in .html, found low1.wav"),
        (["--suggestions", "low1.wav"], "ends in .csv, found low1.wav"),
        (["--html", "low1.wav/a.html"], "cannot write"),
        (["--audio-dir", "nowhere"], "is not a folder"),
    ],
)
def test_bad_usage_is_reported_and_nothing_is_written(
    clean_csv: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(clean_csv.parent)
    before = {path: path.read_bytes() for path in clean_csv.parent.iterdir()}
    with pytest.raises(EarfulError, match=message):
        check("labels.csv", *arguments)
    assert {path: path.read_bytes() for path in clean_csv.parent.iterdir()} == before


def test_many_findings_of_a_kind_are_cut_on_the_screen_only(clean_csv: Path) -> None:
    rows = "".join(f"gone{n}.wav,low\n" for n in range(15))
    clean_csv.write_text(clean_csv.read_text("utf-8") + rows, encoding="utf-8")
    assert "  and 5 more\n" in check(clean_csv, "--no-wrong-labels").stdout
    assert len(json.loads(check(clean_csv, "--no-wrong-labels", "--json").stdout)["findings"]) == 15
