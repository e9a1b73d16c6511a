"""The contest of ``--model auto``: each network on the same held-out clips, and the best of them.

It is held on the validation part. Where that has fewer than 30 clips, or fewer than 5 of a label,
it is held in folds of the training and validation parts together, by speaker where they are known;
the winner is then fitted to both parts, and calibrated on the folds. Test clips are never used.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from earful.data.atomic_write import write_json
from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError, describe_os_error
from earful.data.features.kinds import FeatureKind
from earful.data.labels.stratify import rarest_labels
from earful.data.text.json_input import STRICT, parse_json
from earful.models.bundle.decision import predicted_label_mask
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.zoo import zoo_entry
from earful.training.baselines.fit import fit_baseline
from earful.training.config.train_config import TrainingError
from earful.training.contest.contenders import MAX_TRAINING_CLIPS, Contender, choose_contenders
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.loaders.loader import read_features
from earful.training.metrics.calibration import score_kind_for_loss, to_scores
from earful.training.metrics.classification import paired_p_value, wilson_interval
from earful.training.trainer.trainer import FitResult, HeldOutLogits, fit

CONTEST_FILENAME = "contest.json"
MIN_VALIDATION_CLIPS, MIN_VALIDATION_CLIPS_PER_LABEL = 30, 5
MAX_FOLDS = 5
MAX_P_VALUE = 0.05
UNUSED = "unused"  # the split of clips that a view of a dataset leaves out


@dataclass(frozen=True)
class ContestRow:
    """One network: its accuracy on the held-out clips, with its 95 % interval, and its seconds."""

    model: str
    accuracy: float
    accuracy_ci95: tuple[float, float]
    seconds: float


@dataclass(frozen=True)
class Contest:
    """The result: rows from the best to the worst.

    ``held_out`` says on which clips, ``left_out`` who did not take part and why. ``p_value`` is of
    the winner's lead over the second, by the paired test on the same clips. ``logits`` are those of
    the winner where the contest was held in folds.
    """

    rows: tuple[ContestRow, ...]
    clips: int
    held_out: str
    left_out: tuple[str, ...]
    p_value: float = 1.0
    logits: HeldOutLogits | None = None

    @property
    def winner(self) -> ContestRow:
        return self.rows[0]

    def table(self) -> str:
        """A line per network."""
        width = max(len(row.model) for row in self.rows)
        lines = [f"contest on {self.held_out}:"]
        lines += [
            f"  {row.model:<{width}}  {100 * row.accuracy:5.1f} %  "
            f"({100 * row.accuracy_ci95[0]:.1f} to {100 * row.accuracy_ci95[1]:.1f})  "
            f"{row.seconds:6.1f} s"
            for row in self.rows
        ]
        return "\n".join([*lines, *(f"  without {text}" for text in self.left_out)])

    def reason(self) -> str:
        """Why the winner won, in one sentence."""
        best = self.winner
        if len(self.rows) == 1:
            return f"{best.model} is the only network that fits this data"
        second = self.rows[1]
        lead = round(best.accuracy * self.clips) - round(second.accuracy * self.clips)
        if lead == 0:
            return f"{best.model} is as good as {second.model} on these clips and the cheaper one"
        clips = f"{lead} clip" if lead == 1 else f"{lead} clips"
        chance = "; the difference may be chance" if self.p_value > MAX_P_VALUE else ""
        return (
            f"{best.model} is best: it predicts {clips} more correctly than {second.model}{chance}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "held_out": self.held_out,
            "clips": self.clips,
            "rows": [asdict(row) for row in self.rows],
            "left_out": list(self.left_out),
            "reason": self.reason(),
            "in_folds": self.logits is not None,
        }


@dataclass(frozen=True)
class _RecordedContest:
    """What contest.json says to a resumed run."""

    __pydantic_config__ = STRICT | {"extra": "ignore"}

    in_folds: bool


@dataclass(frozen=True)
class _Measured:
    """A network's row, its logits, and whether each held-out clip is predicted correctly."""

    row: ContestRow
    held_out: HeldOutLogits
    correct: NDArray[np.bool_]


def hold_contest(
    dataset: Dataset,
    auxiliary: AuxiliaryData,
    *,
    seed: int,
    features: FeatureKind | None = None,
    device: TrainingDevice = "auto",
    on_note: Callable[[str], None] = lambda note: None,
) -> Contest:
    """Train each network that fits the data briefly and compare them on held-out clips.

    Raises:
        TrainingError: no network fits the data, or the clips cannot be divided.
    """
    in_folds = needs_folds(dataset)
    contenders = choose_contenders(
        dataset, auxiliary, seed=seed, features=features, in_folds=in_folds
    )
    if not contenders.networks:
        raise TrainingError(
            f"no network fits this data ({'; '.join(contenders.left_out)}); give --model"
        )
    views = _folds(dataset) if in_folds else [_limited(dataset)]
    measured: list[_Measured] = []
    failures: list[str] = []
    for number, contender in enumerate(contenders.networks, 1):
        on_note(f"contest {number} of {len(contenders.networks)}: {contender.model}")
        try:
            measured.append(_measure(contender, views, auxiliary, device))
        except EarfulError as error:
            failures.append(f"{contender.model}: {error}")
            on_note(f"note: {contender.model} does not take part: {error}")
    if not measured:
        raise TrainingError(f"no network could be trained ({'; '.join(failures)}); give --model")
    measured.sort(key=lambda entry: -entry.row.accuracy)  # stable: of equals the cheaper is first
    held_out = measured[0].held_out
    return Contest(
        rows=tuple(entry.row for entry in measured),
        clips=len(held_out.rows),
        held_out=_describe(dataset, views, len(held_out.rows), in_folds=in_folds),
        left_out=(*contenders.left_out, *failures),
        p_value=_lead_p_value(*(entry.correct for entry in measured[:2])),
        logits=held_out if in_folds else None,
    )


def needs_folds(dataset: Dataset) -> bool:
    """Whether the validation part is too small to compare networks on."""
    val = dataset.rows("val")
    per_label = dataset.label_matrix[val].sum(axis=0)
    return len(val) < MIN_VALIDATION_CLIPS or int(per_label.min()) < MIN_VALIDATION_CLIPS_PER_LABEL


def was_in_folds(run: Path) -> bool:
    """Whether the network of a run was chosen in folds, and so fitted to the validation clips.

    Raises:
        TrainingError: contest.json is damaged, or cannot be read.
    """
    path = run / CONTEST_FILENAME
    if not path.is_file():
        return False
    try:
        return parse_json(_RecordedContest, path.read_bytes()).in_folds
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {describe_os_error(error)}") from error
    except ValueError as error:
        raise TrainingError(
            f"{path} is damaged ({error}): it says whether the validation clips are trained on; "
            "train into another folder"
        ) from error


def write_contest(contest: Contest, run: Path) -> None:
    """Write contest.json into a run folder."""
    write_json(run / CONTEST_FILENAME, contest.to_dict())


def _measure(
    contender: Contender, views: Sequence[Dataset], auxiliary: AuxiliaryData, device: TrainingDevice
) -> _Measured:
    started = time.perf_counter()
    outputs = [_train_and_predict(contender, view, auxiliary, device) for view in views]
    seconds = time.perf_counter() - started
    logits = np.concatenate([part.logits for part in outputs])
    rows = np.concatenate([part.rows for part in outputs])
    kind = score_kind_for_loss(contender.config.loss)
    predicted = predicted_label_mask(to_scores(logits, kind), kind)
    correct = (predicted == views[0].label_matrix[rows]).all(axis=1)
    n_correct = int(correct.sum())
    row = ContestRow(
        contender.model,
        n_correct / len(logits),
        wilson_interval(n_correct, len(logits)),
        round(seconds, 1),
    )
    return _Measured(row, HeldOutLogits(rows, logits), correct)


def _lead_p_value(best: NDArray[np.bool_], second: NDArray[np.bool_] | None = None) -> float:
    """P-value of the winner's lead, from the clips that only one of the two predicts correctly."""
    if second is None:
        return 1.0
    return paired_p_value(int((best & ~second).sum()), int((second & ~best).sum()))


def _train_and_predict(
    contender: Contender, view: Dataset, auxiliary: AuxiliaryData, device: TrainingDevice
) -> HeldOutLogits:
    folder = Path(tempfile.mkdtemp(prefix="earful-contest-"))
    try:
        train = fit_baseline if zoo_entry(contender.model).fitted else fit
        result: FitResult = train(
            view, folder / "run", contender.config, auxiliary=auxiliary, device=device
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = view.rows("val")
    with torch.inference_mode():
        logits = [
            result.network(batch)
            for batch in read_features(view, result.checkpoint.config.features, rows)
        ]
    return HeldOutLogits(rows, torch.cat(logits).numpy())


def _limited(dataset: Dataset) -> Dataset:
    """The dataset with at most ``MAX_TRAINING_CLIPS`` training clips, drawn at random."""
    train = dataset.rows("train")
    if len(train) <= MAX_TRAINING_CLIPS:
        return dataset
    dropped = np.random.default_rng(0).permutation(train)[MAX_TRAINING_CLIPS:]
    splits = dataset.clips["split"].to_numpy(object).copy()
    splits[dropped] = UNUSED
    return replace(dataset, clips=dataset.clips.assign(split=splits))


def _folds(dataset: Dataset) -> list[Dataset]:
    """Views in which each training and validation clip is held out once, with its speaker's.

    Raises:
        TrainingError: a label has a single clip, or one speaker has all clips of a label.
    """
    rows = np.concatenate([dataset.rows("train"), dataset.rows("val")])
    labels = rarest_labels(dataset.clips["label"].iloc[rows].tolist())
    rarest, fewest = Counter(labels).most_common()[-1]
    if fewest < 2:
        raise TrainingError(
            f"the label {rarest!r} has a single clip outside the test part, so no network can be "
            "measured on it; add clips of it, or give --model (encoder is made for few clips)"
        )
    groups, n_folds = _groups(dataset, rows, labels, min(MAX_FOLDS, fewest))
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=0)
    views = []
    for _, held_out in splitter.split(rows, labels, groups):
        splits = np.full(len(dataset.clips), UNUSED, object)
        splits[rows] = "train"
        splits[rows[held_out]] = "val"
        views.append(replace(dataset, clips=dataset.clips.assign(split=splits)))
    return views


def _groups(
    dataset: Dataset, rows: NDArray[np.int64], labels: Sequence[str], n_folds: int
) -> tuple[list[str], int]:
    """Of each clip its speaker, where every label has enough; else its recording, in fewer folds.

    Where all clips of a label are of one recording, each clip is by itself.
    """
    speakers = dataset.clips["speaker"].iloc[rows].tolist()
    alone = [str(row) for row in rows]
    first_of: dict[str, str] = {}
    hashes = dataset.clips["sha256"].iloc[rows].tolist()
    recordings = [first_of.setdefault(sha, clip) for sha, clip in zip(hashes, alone, strict=True)]
    named = [speaker or f"\0{clip}" for speaker, clip in zip(speakers, recordings, strict=True)]
    if _fewest_groups(named, labels) >= n_folds:
        return named, n_folds
    fewest = _fewest_groups(recordings, labels)
    return (recordings, min(n_folds, fewest)) if fewest > 1 else (alone, n_folds)


def _fewest_groups(groups: Sequence[str], labels: Sequence[str]) -> int:
    """How many groups the label in the fewest of them is in."""
    return min(Counter(label for _, label in set(zip(groups, labels, strict=True))).values())


def _describe(dataset: Dataset, views: Sequence[Dataset], n_clips: int, *, in_folds: bool) -> str:
    by_speaker = dataset.split_mode in ("speaker", "crossval")
    if not in_folds:
        speakers = " of speakers that are not in training" if by_speaker else ""
        return f"{n_clips} validation clips{speakers}"
    return f"{n_clips} clips in {len(views)} folds, as the validation part is too small"
