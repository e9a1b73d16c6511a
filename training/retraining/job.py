"""A retraining as it is asked for, and what came of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from earful.data.labels.clip import LabelledClips
from earful.models.bundle.device import TrainingDevice
from earful.models.registry.records import CHAMPION, Version
from earful.models.registry.registry import Registry
from earful.models.registry.standing import VersionStanding
from earful.service.core.label_changes import LabelChange
from earful.training.retraining.gate import GateResult
from earful.training.retraining.plan import Plan, RetrainOptions
from earful.training.runs.progress import TrainingProgress


@dataclass(frozen=True)
class RetrainJob:
    """New labels for a model of the registry, and how to retrain it.

    ``source`` names the labels in the data of the new version. ``on_stage`` is called with the name
    of each stage, ``progress`` with the number of epochs.
    """

    registry: Registry
    name: str
    labels: LabelledClips
    source: str
    options: RetrainOptions
    work: Path
    promote: bool = True
    device: TrainingDevice = "auto"
    on_stage: Callable[[str], None] = lambda stage: None
    progress: Callable[[int], AbstractContextManager[TrainingProgress]] = field(
        default=lambda epochs: nullcontext(TrainingProgress())
    )


@dataclass(frozen=True)
class RetrainOutcome:
    """Result of a retraining; ``version`` is None if there was nothing to train.

    plan      None if the champion was made by this request
    standing  what the version is in the registry when the retraining ends
    reasons   the failed checks of the gate
    """

    plan: Plan | None
    version: Version | None = None
    gate_result: GateResult | None = None
    standing: VersionStanding | None = None
    note: str = ""
    reasons: tuple[str, ...] = ()
    kept_labels: tuple[LabelChange, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the version is the champion."""
        return self.standing is not None and self.standing.role == CHAMPION
