"""Where a run's checkpoints are kept: its folder, and a second place that outlives the machine.

The second is a folder or a URL of whatever fsspec has a package for (``s3://``, ``gs://``). It gets
every checkpoint after the folder has it, the best before the last, so that a machine that takes
over finds an epoch whole.
"""

from dataclasses import dataclass
from pathlib import Path

from data.staging import staged_file
from models.registry.storage import Storage, open_storage
from training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    load_checkpoint,
    parse_checkpoint,
    save_checkpoint,
)
from training.config import TrainingError


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run."""

    run: Path
    copy: Storage | None = None

    @classmethod
    def at(cls, run: Path, copy: str | None) -> "CheckpointStore":
        """With a second place where one is given.

        Raises:
            EarshotError: a URL of a kind that no installed package knows.
        """
        return cls(run, open_storage(copy) if copy else None)

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; the one that was there stays until this one is whole."""
        path = self.run / name
        save_checkpoint(path, checkpoint)
        if self.copy is not None:
            self.copy.write(name, path.read_bytes())

    def fetch(self) -> None:
        """Bring the run's folder to where the second place is, if that is further."""
        if self.copy is None:
            return
        found = {name: self._read(name) for name in (BEST, LAST)}
        last = found[LAST]
        if last is None or self._epochs_here() >= self._epochs_there(last):
            return
        for name, content in found.items():
            if content is not None:
                with staged_file(self.run / name) as staging:
                    staging.write_bytes(content)

    def _epochs_there(self, last: bytes) -> int:
        place = "" if self.copy is None else self.copy.root
        return len(parse_checkpoint(last, f"{place}/{LAST}").history)

    def check_new(self) -> None:
        """See that no run is here yet.

        Raises:
            TrainingError: there is one.
        """
        taken = str(self.run) if (self.run / LAST).exists() else ""
        if not taken and self.copy is not None and self._read(LAST) is not None:
            taken = self.copy.root
        if taken:
            raise TrainingError(f"{taken} holds a run; go on with --resume, or give another --out")

    def _read(self, name: str) -> bytes | None:
        try:
            return None if self.copy is None else self.copy.read(name)
        except FileNotFoundError:
            return None

    def _epochs_here(self) -> int:
        last = self.run / LAST
        return len(load_checkpoint(last).history) if last.is_file() else 0
