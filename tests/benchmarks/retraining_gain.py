"""What ten clips a digit of a new voice bring, and what a new word costs.

    uv run python tests/benchmarks/retraining_gain.py voice [SPEAKER...] --fsdd ../shared/fsdd
    uv run python tests/benchmarks/retraining_gain.py word [WORD...] --fsdd ../shared/fsdd

``voice``: the base is five speakers of the Free Spoken Digit Dataset, but for their official test
clips; of the sixth ten clips of each digit, drawn at random, are new, and the other forty are for
testing. ``word``: the base is nine digits by people and by synthetic voices; the tenth is added
with twenty clips of people, or by synthetic voices alone; its official test clips tell how well it
is known.
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
    """Print a line a retraining."""
    recordings = list(_recordings(fsdd))
    for name in names or (SPEAKERS if what == "voice" else ADDED_WORDS):
        (_measure_new_speaker if what == "voice" else _measure_new_word)(name, recordings, out / f"{what}-{name}", model)


def _measure_new_speaker(speaker: str, recordings: list[Recording], out: Path, model: str) -> None:
    drawn = random.Random(speaker)
    new = {digit: set(drawn.sample(range(_RECORDINGS), _NEW_CLIPS)) for digit in WORDS}

    def part(digit: str, who: str, number: int) -> str:
        if who == speaker:
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
        f"{'promoted' if gate['passed'] else 'kept'}, {seconds:.0f} s",
        flush=True,
    )


def _measure_new_word(digit: str, recordings: list[Recording], out: Path, model: str) -> None:
    def part(label: str, who: str, number: int) -> str:
        if label != digit:
            return _split_of_known(number)
        if number in _OFFICIAL_TEST:
            return "new-test"
        return "new" if SPEAKERS.index(who) + 6 * (number - 5) < _CLIPS_PER_WORD else ""

    rows = _group_by_set(recordings, part)
    others = ",".join(f"{d}={word}" for d, word in WORDS.items() if d != digit)
    rows["base"] += _synthesize(others, out / "voices-of-others", repetitions=1)
    _prepare_champion(out, rows, model)
    _write(out / "recorded.csv", [*rows["new"], *rows["new-test"]])
    found = _retrain(out, out / "recorded.csv", "--add-labels")
    _print_word(digit, f"{len(rows['new'])} clips", *found)
    _register(out)
    spoken = _synthesize(f"{digit}={WORDS[digit]}", out / "voices", repetitions=1)
    _write(out / "synthetic.csv", [*spoken, *rows["new-test"]])
    _print_word(digit, "no clip", *_retrain(out, out / "synthetic.csv", "--add-labels"))


def _synthesize(words: str, folder: Path, repetitions: int) -> list[Row]:
    """Synthetic voices saying words, as rows to train on."""
    _earful(
        "synth", "--words", words, "--voices", VOICES, "--repetitions", repetitions, "--sample-rate", 8000,
        "--out", folder,
    )  # fmt: skip
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
        f"{overall['clips']}; {'promoted' if gate['passed'] else 'kept'}, {seconds:.0f} s",
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
    found: dict[str, list[Row]] = {"base": [], "new": [], "new-test": []}
    for path, label, who, number in recordings:
        name = part(label, who, number)
        if name.startswith("new"):
            found[name].append((path, label, who, "test" if name == "new-test" else "train"))
        elif name:
            found["base"].append((path, label, who, name))
    return found


def _prepare_champion(out: Path, rows: dict[str, list[Row]], model: str) -> None:
    """Train and register the base, unless an earlier call has."""
    _write(out / "base.csv", rows["base"])
    _write(out / "new.csv", rows["new"])
    if not (out / "run" / "metrics.json").is_file():
        _earful("prepare", out / "base.csv", "--out", out / "dataset", "--split", "column")
        _earful(
            "train",
            out / "dataset",
            "--out",
            out / "run",
            "--model",
            model,
            "--epochs",
            _EPOCHS,
            "--resume",
        )
    _register(out)


def _register(out: Path) -> None:
    """A new registry with the base as champion."""
    for folder in ("registry", "work"):
        shutil.rmtree(out / folder, ignore_errors=True)
    _earful(
        "models", "register", "loop", out / "run", "--data", out / "dataset", "--registry",
        out / "registry",
    )  # fmt: skip


def _retrain(out: Path, new: Path, *flags: str) -> tuple[dict, float]:  # type: ignore[type-arg]
    """The gate's findings and the seconds of the whole command."""
    began = time.perf_counter()
    found = _earful(
        "retrain", "loop", "--new", new, "--registry", out / "registry", "--work", out / "work",
        "--json", *flags,
    )  # fmt: skip
    return json.loads(found)["gate"], time.perf_counter() - began


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "speaker", "split"))
        writer.writerows(rows)


def _earful(*arguments: object) -> str:
    command = [
        sys.executable,
        "-m",
        "earful.training.cli",
        *map(str, arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    typer.run(main)
