"""What was said when: events found in long recordings, by every way in.

    uv run python -m tests.benchmarks.long_recordings --data ../shared [RECORDING ...]

Recall and precision are by hits: the middle of a found event lies within a true one of the same
label, one to one. Borders are the medians of these events' errors. F1 is by a collar of 200 ms, as
`earful evaluate --events` has it. Where the clips have pauses of their own, borders are not
measured. Recordings, label tracks and the models of keywords and sounds are kept in --out.
"""

import argparse
import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from earful.data.labels.splits import SplitMode
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.training.evaluation.event_metrics import (
    EventCounts,
    SoundEvent,
    count_events,
    middle_within,
    total_counts,
    within_collar,
)
from tests.benchmarks.compose_recordings import (
    RECORDINGS,
    SOUND_RATE_HZ,
    SOUNDS,
    LongRecording,
    compose_all,
    continuous_sound,
    is_held_out,
    read_rows,
)
from tests.benchmarks.event_ways import WAYS


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "recordings", nargs="*", metavar="RECORDING", help=f"default: all, {', '.join(RECORDINGS)}"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("artifacts/long-recordings"))
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="model of digits")
    parser.add_argument("--keyword-network", default="encoder", help="or encoder-finetuned")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    names = arguments.recordings or list(RECORDINGS)
    if unknown := set(names) - set(RECORDINGS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(RECORDINGS)}")
    models = {
        "digits": lambda: arguments.model,
        "keywords": partial(
            train_keywords, arguments.data, arguments.out, arguments.keyword_network
        ),
        "sounds": partial(train_sounds, arguments.data, arguments.out),
    }
    print("| recording | way | true | found | recall | precision | start | end | F1 | changes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for recording in compose_all(arguments.data, arguments.out, names):
        model = models[recording.model]()
        for way in arguments.ways:
            print(table_row(recording, way, WAYS[way](model, recording.path), model), flush=True)


def table_row(recording: LongRecording, way: str, found: Sequence[SoundEvent], model: Path) -> str:
    hits = total_counts(count_events(recording.events, found, middle_within))
    collar = total_counts(count_events(recording.events, found, within_collar()))
    clip_seconds = Classifier.open(model).metadata.features.clip_seconds
    cells = [recording.name, way, str(hits.true), str(hits.found)]
    cells += [percent(hits.recall), percent(hits.precision)]
    cells += borders(hits, collar) if recording.borders else ["", "", ""]
    is_continuous = recording.model == "sounds"
    cells.append(changes(recording.events, found, clip_seconds / 2) if is_continuous else "")
    return f"| {' | '.join(cells)} |"


def borders(hits: EventCounts, collar: EventCounts) -> list[str]:
    errors = (hits.start_error_seconds, hits.end_error_seconds)
    return [*("" if e is None else f"{1000 * e:.0f} ms" for e in errors), percent(collar.f1)]


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def changes(true: Sequence[SoundEvent], found: Sequence[SoundEvent], within_seconds: float) -> str:
    """How many changes of the sound are near the start of an event of the new label."""
    near = [
        any(
            event.label == after.label
            and abs(event.start_seconds - after.start_seconds) <= within_seconds
            for event in found
        )
        for after in true[1:]
    ]
    return f"{sum(near)} of {len(near)} within {1000 * within_seconds:.0f} ms"


def train_keywords(data: Path, folder: Path, network: str) -> Path:
    """A model of the keywords, trained on four fifths of the speakers; kept in ``folder``."""
    source = data / "keywords"
    rows = [row for row in read_rows(source / "labels.csv") if not is_held_out(row)]
    cells = [[str(source.resolve() / r["filename"]), r["label"], r["speaker"]] for r in rows]
    return train_model(folder / f"keywords-{network}", cells, network, "speaker")


def train_sounds(data: Path, folder: Path) -> Path:
    """A model of the two continuous sounds, trained on pieces of one second of other stretches."""
    pieces = folder / "sounds-encoder" / "pieces"
    pieces.mkdir(parents=True, exist_ok=True)
    cells = []
    for label in SOUNDS:
        sound = continuous_sound(data, label)[0]
        for start in np.arange(0, len(sound) - SOUND_RATE_HZ, SOUND_RATE_HZ // 4).tolist():
            path = pieces / f"{label}-{start}.wav"
            soundfile.write(path, sound[start : start + SOUND_RATE_HZ], SOUND_RATE_HZ)
            cells.append([str(path.resolve()), label, ""])
    return train_model(folder / "sounds-encoder", cells, "encoder", "random")


def train_model(
    folder: Path, rows: Sequence[Sequence[str]], network: str, split: SplitMode
) -> Path:
    """The model file of a run on rows of filename, label and speaker, trained once."""
    out = folder / "model.onnx"
    if out.is_file():
        return out
    from earful.training.api.export import export  # torch, which recordings of digits do without
    from earful.training.api.prepare import prepare
    from earful.training.api.train import train

    folder.mkdir(parents=True, exist_ok=True)
    labels_csv = folder / "labels.csv"
    with labels_csv.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["filename", "label", "speaker"], *rows])
    prepare(labels_csv, folder / "dataset", skip_bad=True, replace=True, split=split)
    run = train(folder / "dataset", folder / "run", model=network, resume=False)
    return export(run.run, out).path


if __name__ == "__main__":
    main()
