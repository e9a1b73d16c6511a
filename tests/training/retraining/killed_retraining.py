"""Retrains in forked processes that each kill themselves at the start of a stage, then to the end.

    python -m tests.training.retraining.killed_retraining REGISTRY LABELS.csv WORK

A process of its own, as a fork of one that has run networks could hang. Prints for
each child its stage, whether it was killed and the numbers of the versions then.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from earful.data.labels.labels_csv import read_labels
from earful.models.registry.registry import Registry
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import RetrainOptions
from earful.training.retraining.retrain import retrain

STAGES = ("plan", "prepare", "train", "export", "compare", "publish")


def main(root: str, labels_csv: str, work: str) -> None:
    torch.set_num_threads(1)
    registry = Registry(root)
    for wanted in (*STAGES, ""):

        def on_stage(stage: str, wanted: str = wanted) -> None:
            if stage == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            job = RetrainJob(
                registry,
                "tones",
                read_labels(Path(labels_csv)),
                "new.csv",
                RetrainOptions(epochs=2),
                Path(work),
                promote=False,
                device="cpu",
                on_stage=on_stage,
            )
            outcome = retrain(job)
            print("done", outcome.standing, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(wanted or "end", killed, registry.numbers("tones"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
