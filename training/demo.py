"""``earshot demo``: the whole way from labels to a classified file, told as it goes."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import typer

from data.dataset import open_dataset
from data.labels import Clip, read_labels
from data.prepare import prepare
from data.staging import staged_folder
from data.synthesise import write_clips
from service.classifier import Classifier
from training.config import default_config
from training.evaluate import evaluate_model
from training.export import export
from training.progress import training_progress, work_progress
from training.run import train_run

WORDS = (
    "0=zero",
    "1=one",
    "2=two",
    "3=three",
    "4=four",
    "5=five",
    "6=six",
    "7=seven",
    "8=eight",
    "9=nine",
)
VOICES, TAKES, SEED = 60, 3, 42
SAMPLE_RATE_HZ = 8_000
MODEL = "cnn"
EPOCHS, PATIENCE = 40, 10
MARKER = "demo.csv"


@dataclass
class _Story:
    """Prints numbered steps with their time, and keeps the commands that would do the same."""

    step: int = 0

    @contextmanager
    def tell(self, what: str, command: str) -> Iterator[None]:
        self.step += 1
        typer.echo(f"\n{self.step}. {what}\n   $ {command}")
        began = time.perf_counter()
        yield
        typer.echo(f"   {time.perf_counter() - began:.1f} s")


def run_demo(labels_csv: Path | None, audio_dir: Path | None, out: Path) -> Path:
    """Run every step into ``out``, replacing an earlier demo; returns the model file.

    Raises:
        EarshotError: whatever a step cannot do.
    """
    began = time.perf_counter()
    story = _Story()
    with staged_folder(out, MARKER) as folder:
        (folder / MARKER).write_text(
            "Made by `earshot demo`, which replaces this folder.\n", "utf-8"
        )
    if labels_csv is None:
        labels_csv = _synthesise(story, out / "voices")
    places = f" --audio-dir {audio_dir}" if audio_dir else ""
    _prepare(story, labels_csv, audio_dir, out, places)
    _train(story, out)
    model = _export(story, out)
    test_csv = out / "test.csv"
    tested = _write_test_rows(labels_csv, audio_dir, out / "dataset", test_csv)
    _evaluate(story, model, test_csv)
    _classify(story, model, tested)
    typer.echo(f"\nDone in {time.perf_counter() - began:.0f} s. Everything is in {out}. Next:")
    typer.echo(f"  earshot classify FOLDER --model {model} --out results.csv")
    typer.echo(
        f"  earshot serve --model {model}      then: curl -F file=@a.wav localhost:8000/v1/classify"
    )
    typer.echo("  earshot demo --data LABELS.csv      the same with your own recordings")
    return model


def _synthesise(story: _Story, out: Path) -> Path:
    words = ",".join(word.partition("=")[2] for word in WORDS)
    n_clips = len(WORDS) * VOICES * TAKES
    what = f"No recordings given: {VOICES} synthetic voices speak {words} ({n_clips} clips)"
    command = (
        f"earshot synth --words {','.join(WORDS)} --voices {VOICES} --takes {TAKES} "
        f"--sample-rate {SAMPLE_RATE_HZ} --out {out}"
    )
    with (
        story.tell(what, command),
        work_progress("speak") as on_progress,
    ):
        return write_clips(
            WORDS, out, voices=VOICES, takes=TAKES, seed=SEED, sample_rate_hz=SAMPLE_RATE_HZ,
            progress=on_progress,
        )  # fmt: skip


def _prepare(
    story: _Story, labels_csv: Path, audio_dir: Path | None, out: Path, places: str
) -> None:
    command = f"earshot prepare {labels_csv}{places} --out {out / 'dataset'}"
    with story.tell("Decode, check, split, and compute MFCC and log-mel tensors", command):
        with work_progress("prepare") as on_progress:
            prepared = prepare(
                read_labels(labels_csv, audio_dir), out / "dataset", progress=on_progress
            )
        parts = ", ".join(f"{prepared.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
        typer.echo(
            f"   {prepared.clips} clips, {len(prepared.labels)} labels; {parts} "
            f"({prepared.split_mode} split)"
        )
        for note in prepared.notes():
            typer.echo(f"   note: {note}")


def _train(story: _Story, out: Path) -> None:
    flags = f"--epochs {EPOCHS} --patience {PATIENCE}"
    command = f"earshot train {out / 'dataset'} --out {out / 'run'} {flags}"
    config = replace(default_config(MODEL), epochs=EPOCHS, patience=PATIENCE)
    with (
        story.tell("Train the four-block CNN on MFCC", command),
        training_progress(EPOCHS) as progress,
    ):
        metrics = train_run(open_dataset(out / "dataset"), out / "run", config, progress=progress)
        typer.echo(
            f"   {metrics['parameters']:,} parameters, best epoch {metrics['best_epoch']} of "
            f"{metrics['epochs']}, validation accuracy "
            f"{100 * metrics['validation']['accuracy']:.1f} %"
        )
        typer.echo(f"   curves and confusion matrix: {out / 'run'}/*.png")


def _export(story: _Story, out: Path) -> Path:
    model = out / "model.onnx"
    with story.tell(
        "Export one ONNX file: waveform in, probabilities out",
        f"earshot export {out / 'run'} --out {model}",
    ):
        exported = export(out / "run", model)
        typer.echo(
            f"   {exported.bytes / 1e3:.0f} kB, equal to PyTorch within "
            f"{exported.worst_difference:.0e}"
        )
    return model


def _evaluate(story: _Story, model: Path, test_csv: Path) -> None:
    with story.tell(
        "Evaluate the file on the test clips, as a user would",
        f"earshot evaluate {model} {test_csv}",
    ):
        text = evaluate_model(model, test_csv).text()
        typer.echo("\n".join(f"   {line}" for line in text.splitlines()))


def _classify(story: _Story, model: Path, clip: Clip) -> None:
    with story.tell(
        f"Classify a file (it holds {clip.label!r})",
        f"earshot classify {clip.path} --model {model}",
    ):
        for label, score in Classifier.open(model).classify_file(clip.path).ranked()[:3]:
            typer.echo(f"   {label}  {100 * score:5.1f} %")


def _write_test_rows(labels_csv: Path, audio_dir: Path | None, dataset: Path, out: Path) -> Clip:
    """A CSV of the clips that were held back, with whole paths; returns the first of them."""
    table = open_dataset(dataset).clips
    test = table[table["split"] == "test"]
    starts = [None if pd.isna(start) else float(start) for start in test["start"]]
    held_back = set(zip(test["filename"], starts, strict=True))
    labelled = read_labels(labels_csv, audio_dir).clips
    clips = [clip for clip in labelled if (clip.filename, clip.start_seconds) in held_back]
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "speaker", "start", "end"))
        for clip in clips:
            times = ["" if t is None else t for t in (clip.start_seconds, clip.end_seconds)]
            writer.writerow((clip.path.resolve(), clip.label, clip.speaker, *times))
    return clips[0]
