"""Effect of retraining: ten clips per digit of a new voice, or a new word.

    uv run python tests/benchmarks/retraining_gain.py voice [SPEAKER...] --fsdd ../shared/fsdd
    uv run python tests/benchmarks/retraining_gain.py word [WORD...] --fsdd ../shared/fsdd

``voice``: the base is five speakers of the Free Spoken Digit Dataset, tested on their official test
clips; of the sixth speaker, ten random clips of each digit are new and the other forty are test
clips. ``word``: the base is nine digits by human and synthetic speakers; the tenth is added with
twenty recorded clips, or with synthetic speech only, and tested on its official test clips.
"""

import csv
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
WORDS = dict(
    zip(
        "0123456789",
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        strict=True,
    )
)
ADDED_WORDS = ("0", "4", "9")
VOICES = 100
_RECORDINGS, _NEW_CLIPS = 50, 10  # of each digit by each speaker
_EPOCHS = 20  # of the base
_CLIPS_PER_WORD = 20
_VALIDATION = range(5, 9)
_OFFICIAL_TEST = range(5)

Row = tuple[Path, str, str, str]
Recording = tuple[Path, str, str, int]


def main(
    what: Literal["voice", "word"],
    names: Annotated[list[str] | None, typer.Argument()] = None,
    fsdd: Path = Path("../shared/fsdd"),
    out: Path = Path("artifacts/loop"),
    model: str = "tcresnet",
) -> None:
    """Print one line per retraining."""
    recordings = list(_recordings(fsdd))
    for name in names or (SPEAKERS if what == "voice" else ADDED_WORDS):
        (_measure_new_speaker if what == "voice" else _measure_new_word)(
            name, recordings, out / f"{what}-{name}", model
        )


def _measure_new_speaker(speaker: str, recordings: list[Recording], out: Path, model: str) -> None:
    drawn = random.Random(speaker)
    new = {digit: set(drawn.sample(range(_RECORDINGS), _NEW_CLIPS)) for digit in WORDS}

    def part(digit: str, speaker_name: str, number: int) -> str:
        if speaker_name == speaker:
            return "new" if number in new[digit] else "test"
        return _split_of_known(number)

    _prepare_champion(out, _group_by_set(recordings, part), model)
    gate, seconds = _retrain(out, out / "new.csv")
    others = [c for c in gate["checks"] if c["kind"] == "speaker" and c["name"] != speaker]
    own = next(c for c in gate["checks"] if c["name"] == speaker)
    clips = sum(c["clips"] for c in others)
    before, after = (
        sum(c[side] * c["clips"] for c in others) / clips for side in ("champion", "candidate")
    )
    print(
        f"{speaker}: {100 * own['champion']:.2f} -> {100 * own['candidate']:.2f} % of "
        f"{own['clips']}; the others {100 * before:.2f} -> {100 * after:.2f} % of {clips}; "
        f"{'promoted' if gate['passed'] else 'not promoted'}, {seconds:.0f} s",
        flush=True,
    )


def _measure_new_word(digit: str, recordings: list[Recording], out: Path, model: str) -> None:
    def part(label: str, speaker_name: str, number: int) -> str:
        if label != digit:
            return _split_of_known(number)
        if number in _OFFICIAL_TEST:
            return "new-test"
        return "new" if SPEAKERS.index(speaker_name) + 6 * (number - 5) < _CLIPS_PER_WORD else ""

    rows = _group_by_set(recordings, part)
    others = ",".join(f"{d}={word}" for d, word in WORDS.items() if d != digit)
    rows["base"] += _synthesize(others, out / "synthetic-base", repetitions=1)
    _prepare_champion(out, rows, model)
    _write(out / "recorded.csv", [*rows["new"], *rows["new-test"]])
    result = _retrain(out, out / "recorded.csv", "--add-labels")
    _print_word(digit, f"{len(rows['new'])} clips", *result)
    _register(out)
    synthetic = _synthesize(f"{digit}={WORDS[digit]}", out / "voices", repetitions=1)
    _write(out / "synthetic.csv", [*synthetic, *rows["new-test"]])
    _print_word(digit, "synthetic speech", *_retrain(out, out / "synthetic.csv", "--add-labels"))


def _synthesize(words: str, folder: Path, repetitions: int) -> list[Row]:
    """Training rows of words spoken by synthetic voices."""
    options = ("--voices", VOICES, "--repetitions", repetitions, "--sample-rate", 8000)
    _earful("synth", "--words", words, *options, "--out", folder)
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return [
            (folder.resolve() / row["filename"], row["label"], row["speaker"], "train")
            for row in csv.DictReader(file)
        ]


def _print_word(digit: str, source: str, gate: dict, seconds: float) -> None:  # type: ignore[type-arg]
    new = next(check for check in gate["checks"] if check["kind"] == "new label")
    overall = gate["checks"][0]
    print(
        f"{digit}, {source}: {100 * new['candidate']:.2f} % of {new['clips']}; the other digits "
        f"{100 * overall['champion']:.2f} -> {100 * overall['candidate']:.2f} % of "
        f"{overall['clips']}; {'promoted' if gate['passed'] else 'not promoted'}, {seconds:.0f} s",
        flush=True,
    )


def _split_of_known(number: int) -> str:
    if number in _OFFICIAL_TEST:
        return "test"
    return "val" if number in _VALIDATION else "train"


def _recordings(fsdd: Path) -> Iterable[Recording]:
    with (fsdd / "labels_full.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            number = int(Path(row["filename"]).stem.rpartition("_")[2])
            path = fsdd.resolve() / "recordings" / Path(row["filename"]).name
            yield path, row["label"], row["speaker"], number


def _group_by_set(
    recordings: list[Recording], part: Callable[[str, str, int], str]
) -> dict[str, list[Row]]:
    rows_by_set: dict[str, list[Row]] = {"base": [], "new": [], "new-test": []}
    for path, label, speaker_name, number in recordings:
        name = part(label, speaker_name, number)
        if name.startswith("new"):
            rows_by_set[name].append(
                (path, label, speaker_name, "test" if name == "new-test" else "train")
            )
        elif name:
            rows_by_set["base"].append((path, label, speaker_name, name))
    return rows_by_set


def _prepare_champion(out: Path, rows: dict[str, list[Row]], model: str) -> None:
    """Train the base unless an earlier call has, and register it."""
    _write(out / "base.csv", rows["base"])
    _write(out / "new.csv", rows["new"])
    if not (out / "run" / "metrics.json").is_file():
        _earful("prepare", out / "base.csv", "--out", out / "dataset", "--split", "column")
        options = ("--model", model, "--epochs", _EPOCHS, "--resume")
        _earful("train", out / "dataset", "--out", out / "run", *options)
    _register(out)


def _register(out: Path) -> None:
    """A new registry with the base as champion."""
    for folder in ("registry", "work"):
        shutil.rmtree(out / folder, ignore_errors=True)
    options = ("--data", out / "dataset", "--registry", out / "registry")
    _earful("models", "register", "loop", out / "run", *options)


def _retrain(out: Path, new: Path, *flags: str) -> tuple[dict, float]:  # type: ignore[type-arg]
    """The result of the gate, and the seconds of the command."""
    started = time.perf_counter()
    folders = ("--registry", out / "registry", "--work", out / "work")
    printed = _earful("retrain", "loop", "--new", new, *folders, "--json", *flags)
    return json.loads(printed)["gate"], time.perf_counter() - started


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "speaker", "split"))
        writer.writerows(rows)


def _earful(*arguments: object) -> str:
    command = [sys.executable, "-m", "earful.training.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    typer.run(main)
