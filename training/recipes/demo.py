"""``earful demo``: every step from labels to a classified file, with its command."""

import shlex
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import OutputError, replaced_folder
from earful.data.dataset.dataset import TEST_CLIPS_FILENAME
from earful.data.datasets.read_labelled import read_labelled_clips
from earful.data.labels.clip import Clip
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.synthesis.speak_words import write_synthetic_clips
from earful.service.classifier import Classifier
from earful.service.commands.next_steps import print_choices, program
from earful.service.commands.options import csv_flags
from earful.service.core.echo import echo
from earful.training.api.evaluate import evaluate
from earful.training.api.export import export
from earful.training.api.prepare import prepare
from earful.training.api.train import train
from earful.training.runs.progress import work_progress

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
VOICES, REPETITIONS, SEED = 60, 3, 42
SAMPLE_RATE_HZ = 8_000
MODEL = "cnn"
EPOCHS, PATIENCE = 40, 10
MARKER = "demo.csv"


@dataclass
class _StepPrinter:
    """Prints numbered steps with the equivalent command and the time they take."""

    step: int = 0

    @contextmanager
    def run_step(self, title: str, command: str) -> Iterator[None]:
        self.step += 1
        echo(f"\n{self.step}. {title}\n   $ {command}")
        started = time.perf_counter()
        yield
        echo(f"   {time.perf_counter() - started:.1f} s")


def run_demo(
    labels_csv: Path | None, options: CsvOptions, out: Path, words: Sequence[str] = WORDS
) -> Path:
    """Run every step into ``out``, replacing an earlier demo; returns the model file.

    ``labels_csv`` may be a folder of labelled recordings. Without it synthetic voices speak
    ``words``, and no recording is needed.

    Raises:
        EarfulError: a step fails.
    """
    started = time.perf_counter()
    if labels_csv is not None:
        _check_own_labels(labels_csv, options, out)
    with replaced_folder(out, MARKER):
        (out / MARKER).write_text("Made by `earful demo`, which replaces this folder.\n", "utf-8")
        model = _run_steps(labels_csv, options, out, words)
    echo(f"\nDone in {time.perf_counter() - started:.0f} s. All files are in {out}. Next:")
    print_choices(
        ("classify your files", ("classify", "FOLDER", "--model", model, "--out", "results.csv")),
        ("open a web page and an HTTP API", ("serve", "--model", model)),
        ("the same with your own recordings", ("demo", "--data", "LABELS.csv")),
        ("your own words, without a recording", ("demo", "--words", "lights,music,stop")),
    )
    return model


def _run_steps(
    labels_csv: Path | None,
    options: CsvOptions,
    out: Path,
    words: Sequence[str],
) -> Path:
    printer = _StepPrinter()
    own_data = labels_csv is not None
    if labels_csv is None:
        labels_csv = _synthesize(printer, words, out / "voices")
    _prepare(printer, labels_csv, options, out)
    _train(printer, out, None if own_data else MODEL)
    model = _export(printer, out)
    test_csv = out / "dataset" / TEST_CLIPS_FILENAME
    if test_csv.is_file():
        _evaluate(printer, model, test_csv)
        whole_files = [clip for clip in read_labels(test_csv).clips if clip.start_seconds is None]
        if whole_files:  # a file of several clips has no single label
            _classify(printer, model, whole_files[0])
    else:
        echo("\nThe split column has no test clips, so nothing is evaluated.")
    return model


def _check_own_labels(labels_csv: Path, options: CsvOptions, out: Path) -> None:
    """Check the user's labels before anything is replaced.

    Raises:
        LabelsError: it cannot be read.
        OutputError: it, or the audio, lies in the folder that the demo replaces.
    """
    for place in (labels_csv, options.audio_dir or labels_csv):
        if place.resolve().is_relative_to(out.resolve()):
            raise OutputError(
                f"{place} is inside {out}, which the demo replaces; give another --out"
            )
    read_labelled_clips(labels_csv, options)


def _synthesize(printer: _StepPrinter, words: Sequence[str], out: Path) -> Path:
    word_list = ", ".join(word.partition("=")[2] or word for word in words)
    n_clips = len(words) * VOICES * REPETITIONS
    title = f"No recordings given: {VOICES} synthetic voices speak {word_list} ({n_clips} clips)"
    command = (
        f"{program()} synth --words {','.join(words)} --voices {VOICES} "
        f"--repetitions {REPETITIONS} --sample-rate {SAMPLE_RATE_HZ} --out {out}"
    )
    with (
        printer.run_step(title, command),
        work_progress("speak") as on_progress,
    ):
        return write_synthetic_clips(
            words,
            out,
            voices=VOICES,
            repetitions=REPETITIONS,
            seed=SEED,
            sample_rate_hz=SAMPLE_RATE_HZ,
            progress=on_progress,
        )


def _prepare(printer: _StepPrinter, labels_csv: Path, options: CsvOptions, out: Path) -> None:
    flags = csv_flags(options)
    command = f"{program()} {shlex.join(map(str, ('prepare', labels_csv, *flags)))}"
    command += f" --out {out / 'dataset'}"
    with printer.run_step("Decode, check, split, and compute MFCC and log-mel tensors", command):
        prepared = prepare(
            labels_csv, out / "dataset", **vars(options), replace=True, progress=True
        )
        parts = ", ".join(f"{prepared.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
        echo(
            f"   {prepared.clips} clips, {len(prepared.labels)} labels; {parts} "
            f"({prepared.split_mode} split)"
        )
        for note in prepared.notes():
            echo(f"   note: {note}")


def _train(printer: _StepPrinter, out: Path, model: str | None) -> None:
    """Train ``model`` for a few epochs; without one, the winner of a contest in full."""
    command = f"{program()} train {out / 'dataset'} --out {out / 'run'}"
    if model is not None:
        command += f" --model {model} --epochs {EPOCHS} --patience {PATIENCE}"
    title = "Train the four-block CNN on MFCC" if model else "Choose a network, and train it"
    with printer.run_step(title, command):
        result = (
            train(out / "dataset", out / "run", progress=True)
            if model is None
            else train(
                out / "dataset",
                out / "run",
                model=model,
                epochs=EPOCHS,
                patience=PATIENCE,
                progress=True,
            )
        )
        metrics = result.metrics
        if result.contest is not None:
            echo(textwrap.indent(f"{result.contest.table()}\n{result.contest.reason()}", "   "))
        echo(
            f"   {metrics['parameters']:,} parameters, best epoch {metrics['best_epoch']} of "
            f"{metrics['epochs']}, validation accuracy "
            f"{100 * metrics['validation']['accuracy']:.1f} %"
        )
        echo(f"   pictures: {out / 'run'}/*.png")


def _export(printer: _StepPrinter, out: Path) -> Path:
    model = out / "model.onnx"
    with printer.run_step(
        "Export one ONNX file: waveform in, probabilities out",
        f"{program()} export {out / 'run'} --out {model}",
    ):
        exported = export(out / "run", model)
        echo(
            f"   {exported.size_bytes / 1e3:.0f} kB, equal to PyTorch within "
            f"{exported.max_difference:.0e}"
        )
    return model


def _evaluate(printer: _StepPrinter, model: Path, test_csv: Path) -> None:
    with printer.run_step(
        "Evaluate the file on the test clips, as a user would",
        f"{program()} evaluate {model} {test_csv}",
    ):
        text = evaluate(model, test_csv).text()
        echo("\n".join(f"   {line}" for line in text.splitlines()))


def _classify(printer: _StepPrinter, model: Path, clip: Clip) -> None:
    here = Path.cwd()
    display_path = clip.path.relative_to(here) if clip.path.is_relative_to(here) else clip.path
    with printer.run_step(
        f"Classify a file (it holds {clip.label!r})",
        f"{program()} classify {display_path} --model {model}",
    ):
        for label, score in Classifier.open(model).classify_file(clip.path).ranked()[:3]:
            echo(f"   {label}  {100 * score:5.1f} %")
