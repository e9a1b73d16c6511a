"""``earful demo``: the whole way from labels to a classified file, told as it goes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from earful.data.atomic_write import OutputError, replaced_folder
from earful.data.dataset.dataset import TEST_CLIPS_FILENAME, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.labels_csv import Clip, LabelledClips, read_labels
from earful.data.synthesis.speak_words import write_synthetic_clips
from earful.service.classifier import Classifier
from earful.training.config.train_config import default_config
from earful.training.evaluation.evaluator import evaluate_model
from earful.training.export.export import export
from earful.training.runs.progress import training_progress, work_progress
from earful.training.runs.train_run import adapt_to_dataset, train_run

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
    """Prints numbered steps with their time, and keeps the commands that would do the same."""

    step: int = 0

    @contextmanager
    def run_step(self, title: str, command: str) -> Iterator[None]:
        self.step += 1
        typer.echo(f"\n{self.step}. {title}\n   $ {command}")
        began = time.perf_counter()
        yield
        typer.echo(f"   {time.perf_counter() - began:.1f} s")


def run_demo(
    labels_csv: Path | None, audio_dir: Path | None, out: Path, words: Sequence[str] = WORDS
) -> Path:
    """Run every step into ``out``, replacing an earlier demo; returns the model file.

    Without ``labels_csv``, synthetic voices speak ``words``: no recording is needed.

    Raises:
        EarfulError: whatever a step cannot do.
    """
    began = time.perf_counter()
    labelled = None if labels_csv is None else _read_own_labels(labels_csv, audio_dir, out)
    with replaced_folder(out, MARKER):
        (out / MARKER).write_text("Made by `earful demo`, which replaces this folder.\n", "utf-8")
        model = _run_steps(labels_csv, labelled, audio_dir, out, words)
    typer.echo(f"\nDone in {time.perf_counter() - began:.0f} s. Everything is in {out}. Next:")
    typer.echo(f"  earful classify FOLDER --model {model} --out results.csv")
    typer.echo(
        f"  earful serve --model {model}      then: curl -F file=@a.wav localhost:8000/v1/classify"
    )
    typer.echo("  earful demo --data LABELS.csv      the same with your own recordings")
    typer.echo("  earful demo --words lights,music,stop      your own words, without a recording")
    return model


def _run_steps(
    labels_csv: Path | None,
    labelled: LabelledClips | None,
    audio_dir: Path | None,
    out: Path,
    words: Sequence[str],
) -> Path:
    printer = _StepPrinter()
    if labels_csv is None or labelled is None:
        labels_csv = _synthesize(printer, words, out / "voices")
        labelled = read_labels(labels_csv)
    places = f" --audio-dir {audio_dir}" if audio_dir else ""
    _prepare(printer, labelled, out, f"{labels_csv}{places}")
    _train(printer, out)
    model = _export(printer, out)
    test_csv = out / "dataset" / TEST_CLIPS_FILENAME
    if test_csv.is_file():
        _evaluate(printer, model, test_csv)
        whole_files = [clip for clip in read_labels(test_csv).clips if clip.start_seconds is None]
        if whole_files:  # a file that holds several clips has no one answer
            _classify(printer, model, whole_files[0])
    else:
        typer.echo("\nThe split column holds nothing back for testing, so nothing is evaluated.")
    return model


def _read_own_labels(labels_csv: Path, audio_dir: Path | None, out: Path) -> LabelledClips:
    """Read the user's CSV before anything is replaced.

    Raises:
        LabelsError: it cannot be read.
        OutputError: it, or the audio, lies in the folder that the demo replaces.
    """
    for place in (labels_csv, audio_dir or labels_csv):
        if place.resolve().is_relative_to(out.resolve()):
            raise OutputError(
                f"{place} is inside {out}, which the demo replaces; give another --out"
            )
    return read_labels(labels_csv, audio_dir)


def _synthesize(printer: _StepPrinter, words: Sequence[str], out: Path) -> Path:
    word_list = ", ".join(word.partition("=")[2] or word for word in words)
    n_clips = len(words) * VOICES * REPETITIONS
    title = f"No recordings given: {VOICES} synthetic voices speak {word_list} ({n_clips} clips)"
    command = (
        f"earful synth --words {','.join(words)} --voices {VOICES} --repetitions {REPETITIONS} "
        f"--sample-rate {SAMPLE_RATE_HZ} --out {out}"
    )
    with (
        printer.run_step(title, command),
        work_progress("speak") as on_progress,
    ):
        return write_synthetic_clips(
            words, out, voices=VOICES, repetitions=REPETITIONS, seed=SEED, sample_rate_hz=SAMPLE_RATE_HZ,
            progress=on_progress,
        )  # fmt: skip


def _prepare(printer: _StepPrinter, labelled: LabelledClips, out: Path, places: str) -> None:
    command = f"earful prepare {places} --out {out / 'dataset'}"
    with printer.run_step("Decode, check, split, and compute MFCC and log-mel tensors", command):
        with work_progress("prepare") as on_progress:
            prepared = prepare(labelled, out / "dataset", progress=on_progress)
        parts = ", ".join(f"{prepared.by_split.get(s, 0)} {s}" for s in ("train", "val", "test"))
        typer.echo(
            f"   {prepared.clips} clips, {len(prepared.labels)} labels; {parts} "
            f"({prepared.split_mode} split)"
        )
        for note in prepared.notes():
            typer.echo(f"   note: {note}")


def _train(printer: _StepPrinter, out: Path) -> None:
    flags = f"--epochs {EPOCHS} --patience {PATIENCE}"
    command = f"earful train {out / 'dataset'} --out {out / 'run'} {flags}"
    dataset = open_dataset(out / "dataset")
    config = replace(default_config(MODEL), epochs=EPOCHS, patience=PATIENCE)
    config = adapt_to_dataset(config, {}, dataset, processes=1)
    with (
        printer.run_step("Train the four-block CNN on MFCC", command),
        training_progress(EPOCHS) as progress,
    ):
        metrics = train_run(dataset, out / "run", config, progress=progress)
        typer.echo(
            f"   {metrics['parameters']:,} parameters, best epoch {metrics['best_epoch']} of "
            f"{metrics['epochs']}, validation accuracy "
            f"{100 * metrics['validation']['accuracy']:.1f} %"
        )
        typer.echo(f"   curves and confusion matrix: {out / 'run'}/*.png")


def _export(printer: _StepPrinter, out: Path) -> Path:
    model = out / "model.onnx"
    with printer.run_step(
        "Export one ONNX file: waveform in, probabilities out",
        f"earful export {out / 'run'} --out {model}",
    ):
        exported = export(out / "run", model)
        typer.echo(
            f"   {exported.size_bytes / 1e3:.0f} kB, equal to PyTorch within "
            f"{exported.max_difference:.0e}"
        )
    return model


def _evaluate(printer: _StepPrinter, model: Path, test_csv: Path) -> None:
    with printer.run_step(
        "Evaluate the file on the test clips, as a user would",
        f"earful evaluate {model} {test_csv}",
    ):
        text = evaluate_model(model, test_csv).text()
        typer.echo("\n".join(f"   {line}" for line in text.splitlines()))


def _classify(printer: _StepPrinter, model: Path, clip: Clip) -> None:
    here = Path.cwd()
    display_path = clip.path.relative_to(here) if clip.path.is_relative_to(here) else clip.path
    with printer.run_step(
        f"Classify a file (it holds {clip.label!r})",
        f"earful classify {display_path} --model {model}",
    ):
        for label, score in Classifier.open(model).classify_file(clip.path).ranked()[:3]:
            typer.echo(f"   {label}  {100 * score:5.1f} %")
