"""Training speed of the four-block CNN, compared with a plain PyTorch loop.

    uv run python -m tests.benchmarks.training_speed
    uv run --with tensorflow-cpu python -m tests.benchmarks.training_speed --keras --busy

CPU: batches of 64 stored MFCCs (40, 63), the same network and Adam in all candidates; one trains on
augmented waveforms. Candidates alternate, so that other load on the machine affects all of them;
printed are the median clips/s over the rounds and the ratio to the plain loop. ``--busy`` measures
beside processes that keep all cores busy. GPU, if present: batches of 1,024 stored features and
augmented waveforms, through this network and the shipped one; clips/s, the ratio to the plain loop,
and the share of time in which kernels run.
"""

import os

# As the command sets it, before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from earful.data.dataset.dataset import Dataset
from earful.data.features.config import FeatureConfig
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA
from earful.training.trainer.setup import initial_checkpoint, training_loader
from earful.training.trainer.train_step import TrainStep
from tests.benchmarks.synthetic_dataset import make_dataset

CLIPS, BATCH, LABELS = 2_048, 64, 10


def engine(dataset: Dataset, config: TrainConfig, device: torch.device) -> Callable[[], None]:
    """One epoch of ``earful train``."""
    train = training_loader(dataset, NO_AUXILIARY_DATA, config, device)
    train_step = TrainStep.from_checkpoint(
        initial_checkpoint(dataset, train, "", config), train, device
    )

    def epoch() -> None:
        train_step.train_epoch(train, [], lambda epoch, done, total: None)

    return epoch


def plain_loop(
    features: torch.Tensor, targets: torch.Tensor, device: torch.device, batch_size: int
) -> Callable[[], None]:
    """A plain PyTorch loop: Conv2d, ReLU, MaxPool2d, Dropout, DataLoader, Adam, float32."""
    layers: list[nn.Module] = []
    for before, after in zip((1, 16, 32, 64), (16, 32, 64, 128), strict=True):
        layers += [nn.Conv2d(before, after, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, LABELS))
    network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    data = torch.utils.data.TensorDataset(features.unsqueeze(1), targets)
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True)

    def epoch() -> None:
        network.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_of(network(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def keras_fit(features: torch.Tensor, targets: torch.Tensor) -> Callable[[], None]:
    """The same network in Keras, trained with ``model.fit``."""
    import keras

    x, y = features.unsqueeze(-1).numpy(), targets.numpy()
    model = keras.Sequential([keras.layers.Input(x.shape[1:])])
    for filters in (16, 32, 64, 128):
        model.add(keras.layers.Conv2D(filters, 2, activation="relu"))
        model.add(keras.layers.MaxPooling2D(2))
        model.add(keras.layers.Dropout(0.2))
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(LABELS, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")

    def epoch() -> None:
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)

    return epoch


def measure_in_turn(candidates: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median clips/s of each candidate, after a warm-up epoch."""
    speeds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, epoch in candidates.items():
            started = time.perf_counter()
            epoch()
            if number:
                speeds[name].append(CLIPS / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in speeds.items()}


def on_cpu(folder: Path, rounds: int, with_keras: bool) -> None:
    features = FeatureConfig.for_rate(8_000)
    dataset = make_dataset(folder / "small", features, CLIPS, LABELS)
    stored = torch.from_numpy(np.array(dataset.array("mfcc")[:CLIPS]))
    targets = torch.from_numpy(dataset.targets[:CLIPS])
    candidates = {"plain loop": plain_loop(stored, targets, torch.device("cpu"), BATCH)}
    variants = {
        "earful": {},
        "augmented": {"augment": True},
        "bfloat16": {"precision": "bfloat16"},
        "compiled": {"compile": True},
    }
    for name, changes in variants.items():
        config = replace(default_config("cnn"), **changes)  # type: ignore[arg-type]
        candidates[name] = engine(dataset, config, torch.device("cpu"))
    if with_keras:
        candidates["keras"] = keras_fit(stored, targets)
    print(f"CPU, {torch.get_num_threads()} threads, batches of {BATCH} MFCC")
    speeds = measure_in_turn(candidates, rounds)
    for name, speed in speeds.items():
        print(f"  {name:<12}{speed:>8,.0f} clips/s{speed / speeds['plain loop']:>8.2f} x")


@contextmanager
def busy_cores() -> Iterator[None]:
    """A process for each core that never waits."""
    cores = len(os.sched_getaffinity(0))
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def on_gpu(folder: Path, device: torch.device, clips: int, batch_size: int) -> None:
    features = FeatureConfig.for_rate(8_000)
    dataset = make_dataset(folder / "large", features, clips, LABELS)
    stored = torch.from_numpy(np.array(dataset.array("mfcc")))
    plain = plain_loop(stored, torch.from_numpy(dataset.targets), device, batch_size)
    plain_speed, _ = measure_on_gpu(plain, len(stored), device)
    print(f"{'plain loop':<48}{plain_speed:>10,.0f} clips/s")
    variants = itertools.product(
        ("cnn", "encoder-finetuned"), (False, True), ("float32", "bfloat16"), (False, True)
    )
    for model, augment, precision, compiled in variants:
        config = replace(
            default_config(model),
            augment=augment,
            mixup=0.0,
            batch_size=batch_size,
            precision=precision,  # type: ignore[arg-type]
            compile=compiled,
        )
        epoch = engine(dataset, config, device)
        speed, busy = measure_on_gpu(epoch, len(dataset.rows("train")), device)
        clips_are = "augmented" if augment else "stored"
        name = f"{model}, {clips_are}, {precision}{', compiled' if compiled else ''}"
        print(
            f"{name:<48}{speed:>10,.0f} clips/s{speed / plain_speed:>8.2f} x, "
            f"kernels {100 * busy:.0f} %"
        )


def measure_on_gpu(
    epoch: Callable[[], None], clips: int, device: torch.device
) -> tuple[float, float]:
    """Clips/s of an epoch after a first one, and the share of the time in which kernels run."""
    from torch.profiler import ProfilerActivity, profile

    def seconds() -> float:
        started = time.perf_counter()
        epoch()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    seconds()
    measured = seconds()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds()
    busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
    return clips / measured, busy / measured


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keras", action="store_true")
    parser.add_argument("--busy", action="store_true")
    arguments = parser.parse_args()
    load = busy_cores() if arguments.busy else nullcontext()
    with tempfile.TemporaryDirectory() as name, load:
        on_cpu(Path(name), arguments.rounds, arguments.keras)
        if torch.cuda.is_available():
            print(torch.cuda.get_device_name())
            on_gpu(Path(name), torch.device("cuda"), 65_536, 1_024)


if __name__ == "__main__":
    main()
