"""A batch as the user asks for it, what it tells while it runs, and how it ended."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.models.bundle.device import Device
from earful.service.batch.formats import FOLDER_FORMATS, RowLayout
from earful.service.batch.inputs import is_folder
from earful.service.batch.items import ClassifyOptions
from earful.service.batch.settled_rows import RunStats
from earful.service.classifier import Classifier


@dataclass(frozen=True)
class ShardSpec:
    """One of ``count`` shards of a run; ``index`` counts from 0."""

    index: int
    count: int

    @property
    def is_whole(self) -> bool:
        return self.count == 1

    def output_path(self, out: Path) -> Path:
        """results.csv -> results-00002-of-00010.csv; unchanged for a whole run."""
        if self.is_whole:
            return out
        return out.with_name(f"{out.stem}-{self.index:05}-of-{self.count:05}{out.suffix}")


@dataclass(frozen=True)
class BatchRequest:
    """A run as the user asks for it: inputs, model, options and output."""

    paths: tuple[str, ...]
    model: Path
    out: Path | None
    format_name: str
    mark_formulas: bool = True
    options: ClassifyOptions = field(default_factory=ClassifyOptions)
    reject: bool = False
    device: Device = "cpu"
    csv_options: CsvOptions = PLAIN_CSV
    shard_spec: ShardSpec = field(default_factory=lambda: ShardSpec(0, 1))
    restart: bool = False
    workers: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None

    @property
    def results(self) -> Path | None:
        """The results of this shard; None: standard output."""
        return None if self.out is None else self.shard_spec.output_path(self.out)

    @property
    def common_folder(self) -> Path:
        """The deepest folder that contains all paths."""
        folders = [path if is_folder(path) else str(Path(path).parent) for path in self.paths]
        return Path(os.path.commonpath([Path(folder).absolute() for folder in folders]))

    def layout(self, classifier: Classifier, *, expected: bool) -> RowLayout:
        """How the rows are written; ``expected`` if any input has a correct label."""
        return RowLayout(
            format_name=self.format_name,
            mark_formulas=self.mark_formulas,
            top_k=self.options.top_k,
            multi_label=classifier.is_multi_label,
            expected=expected,
            common_folder=self.common_folder if self.format_name in FOLDER_FORMATS else Path(),
            max_hz=classifier.sample_rate_hz / 2,
        )


@dataclass(frozen=True)
class BatchOutcome:
    """The result of a run.

    n_already_done    inputs that an earlier, interrupted run had finished
    already_complete  an earlier run had finished everything
    """

    stats: RunStats
    out: Path | None
    n_already_done: int = 0
    seconds: float = 0.0
    already_complete: bool = False


class BatchProgress:
    """Progress callbacks of a run; this base class ignores them."""

    def on_start(self, total: int, n_already_done: int) -> None:
        """Called once: the number of inputs, and how many an earlier run has finished."""

    def on_progress(self, stats: RunStats, reading: int, seconds: float) -> None:
        """Called repeatedly: finished chunks; inputs and seconds read in unfinished chunks."""
