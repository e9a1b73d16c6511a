"""One epoch of learning: the network, its optimizer, and the running average that is released."""

import contextlib
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.pipeline import NormalisedNetwork
from training.balance import loss_weights, positive_weights
from training.batches import Batches, Cut, Part
from training.checkpoint import Checkpoint, EpochRecord, rebuild_network
from training.config import TrainConfig, TrainingError
from training.monitor import PROBE_CLIPS, LayerHealth, examine
from training.objectives import Judged, objective_of
from training.optimizers import make_optimizer
from training.schedules import learning_rate
from training.shards import ShardState
from training.team import Team

# The average follows closely while there are few steps to average over.
_AVERAGING_RAMP_STEPS = 20
# A loss beyond it is lost, and every so many batches is often enough to look (it makes a GPU wait).
DIVERGED_LOSS, _LOOK_BATCHES = 1e3, 50


class DivergedError(TrainingError):
    """The loss is no number any more, or far beyond what guessing costs."""


class _Judge(nn.Module):
    """Features and targets to their loss: what is compiled, and what processes share.

    Sums of right and answerable clips come with it, since a module returns tensors.
    """

    def __init__(
        self, network: NormalisedNetwork, config: TrainConfig, weights: Tensor | None
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.weights = weights
        self.in_bfloat16 = config.precision == "bfloat16"

    def forward(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            judged = objective_of(self.config.model).judge(
                self.network, features, targets, self.config, self.weights
            )
        return judged.loss, judged.right, judged.answerable


@dataclass(frozen=True)
class Epoch:
    """What an epoch showed: mean loss and accuracy as they were while learning, the last rate."""

    loss: float
    accuracy: float | None
    learning_rate: float
    layers: tuple[LayerHealth, ...]


@dataclass(frozen=True)
class Learner:
    """``network`` learns; ``released`` is its running average, or the same object without one."""

    network: NormalisedNetwork
    released: NormalisedNetwork
    optimizer: torch.optim.Optimizer
    judge: nn.Module
    config: TrainConfig
    team: Team

    @classmethod
    def at(
        cls, checkpoint: Checkpoint, train: Batches, device: torch.device, team: Team | None = None
    ) -> Self:
        """As it was when the checkpoint was written, to go on with these clips.

        Raises:
            TrainingError: the optimizer is not for this network.
        """
        config, team = checkpoint.config, team or Team()
        released = _placed(rebuild_network(checkpoint), device)
        network = released
        if config.averaging:
            network = copy.deepcopy(released)
            network.load_state_dict(checkpoint.learning or checkpoint.weights)
        optimizer = make_optimizer(network, config)
        if checkpoint.optimizer:
            optimizer.load_state_dict(checkpoint.optimizer)
        judge: nn.Module = _Judge(network, config, _label_weights(config, train))
        if config.compile:
            judge = _compiled(judge, device)
        if team.size > 1:
            # Batch statistics are averaged by ShardState, for one process as for many.
            judge = DistributedDataParallel(judge, broadcast_buffers=False)
        return cls(network, released, optimizer, judge, config, team)

    def train_epoch(
        self,
        train: Batches,
        history: Sequence[EpochRecord],
        on_batch: Callable[[int, int, int], None],
    ) -> Epoch:
        """One pass over the training clips, after the epochs of ``history``.

        The accuracy is None where no clip has an answer.

        Raises:
            DivergedError: the loss is no finite number, or beyond all reason.
        """
        config, epoch = self.config, len(history) + 1
        seed = config.seed * 1_000_003 + epoch
        cut = Cut(config.batch_size, seed, config.shards, self.team.mine(config.shards))
        n_batches = cut.batches(len(train.epoch))
        val_losses = [record.val_loss for record in history]
        state = ShardState(self.network, cut, self.team)
        self.network.train()
        sums, probe, done, rate = _Sums(), None, 0, config.learning_rate
        for part in train.parts(cut):
            if part.shard == cut.mine[0]:
                step = (epoch - 1) * n_batches + done + 1
                rate = learning_rate(config, step, n_batches, val_losses)
                self._begin_step(rate)
            probe = probe or replace(
                part, features=part.features[:PROBE_CLIPS], targets=part.targets[:PROBE_CLIPS]
            )
            with state.of(part.shard):
                judged = self._learn_from(part)
            sums.add(judged, part)
            if part.is_last:
                done += 1
                state.settle()
                self._end_step((epoch - 1) * n_batches + done)
                if done % _LOOK_BATCHES == 0 or done == n_batches:
                    _check(sums.loss(), config)
                on_batch(epoch, done, n_batches)
        loss, accuracy = sums.over(self.team, len(train.epoch))
        _check(loss, config)
        return Epoch(loss, accuracy, rate, self._examine(probe))

    def try_step(self, part: Part, rate: float) -> float:
        """One step at a rate with a whole batch; the loss before it."""
        self.network.train()
        self._begin_step(rate)
        judged = self._learn_from(part)
        self._end_step(1)
        return float(judged.loss.detach())

    def checkpoint(self, before: Checkpoint, record: EpochRecord) -> Checkpoint:
        """The checkpoint after one more epoch."""
        averaged = self.released is not self.network
        return replace(
            before,
            weights=_to_cpu(self.released.state_dict()),
            learning=_to_cpu(self.network.state_dict()) if averaged else {},
            optimizer=self.optimizer.state_dict(),
            history=(*before.history, record),
        )

    def _begin_step(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)

    def _learn_from(self, part: Part) -> Judged:
        """Add a part's share to the gradient; L-BFGS takes its whole step here."""
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self._line_search(part, self.optimizer)
        with self._syncing(part):
            judged = Judged(*self.judge(part.features, part.targets))
            # DistributedDataParallel takes the mean over processes; the sum of shares is meant.
            (judged.loss * part.share * self.team.size).backward()  # type: ignore[no-untyped-call]
        return judged

    def _line_search(self, part: Part, optimizer: torch.optim.LBFGS) -> Judged:
        """A step of L-BFGS: the same dropout wherever the line search looks."""
        first: list[Judged] = []
        before = torch.get_rng_state()

        def closure() -> float:
            torch.set_rng_state(before)
            optimizer.zero_grad(set_to_none=True)
            judged = Judged(*self.judge(part.features, part.targets))
            judged.loss.backward()  # type: ignore[no-untyped-call]
            first.append(replace(judged, loss=judged.loss.detach()))
            return float(judged.loss.detach()) + self._add_l1()

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return first[0]

    def _syncing(self, part: Part) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients once a batch: with their last shard."""
        if isinstance(self.judge, DistributedDataParallel) and not part.is_last:
            return cast("contextlib.AbstractContextManager[None]", self.judge.no_sync())
        return contextlib.nullcontext()

    def _end_step(self, step: int) -> None:
        config = self.config
        if not isinstance(self.optimizer, torch.optim.LBFGS):
            self._add_l1()
            if math.isfinite(config.max_gradient_norm):
                nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient_norm)
            self.optimizer.step()
        if self.released is not self.network:
            decay = min(config.averaging, step / (step + _AVERAGING_RAMP_STEPS))
            _average(self.released, self.network, decay)

    @torch.no_grad()
    def _add_l1(self) -> float:
        """Add the gradient of the L1 penalty, and return the penalty. Biases go without it."""
        if not self.config.l1:
            return 0.0
        total = 0.0
        for weights in self.network.parameters():
            if weights.dim() > 1 and weights.grad is not None:
                weights.grad.add_(weights.sign(), alpha=self.config.l1)
                total += float(weights.abs().sum())
        return self.config.l1 * total

    def _examine(self, probe: Part | None) -> tuple[LayerHealth, ...]:
        if probe is None:
            return ()
        judge, targets = objective_of(self.config.model).judge, probe.targets
        return examine(
            self.network,
            probe.features,
            lambda x: judge(self.network, x, targets, self.config, None).loss,
        )


class _Sums:
    """Loss and answers of an epoch, added up on the device."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._clips = 0

    def add(self, judged: Judged, part: Part) -> None:
        n_clips = len(part.targets)
        found = torch.stack(
            [judged.loss.detach().double() * n_clips, judged.right, judged.answerable]
        )
        self._sums = found if self._sums is None else self._sums + found
        self._clips += n_clips

    def loss(self) -> float:
        """The mean so far, of this process."""
        return float("nan") if self._sums is None else float(self._sums[0]) / self._clips

    def over(self, team: Team, n_clips: int) -> tuple[float, float | None]:
        """Mean loss and accuracy over all processes."""
        if self._sums is None:
            return float("nan"), None
        loss, right, answerable = team.total(self._sums).tolist()
        return loss / n_clips, right / answerable if answerable else None


def _check(loss: float, config: TrainConfig) -> None:
    if not loss < DIVERGED_LOSS:
        raise DivergedError(
            f"the loss is {loss:.4g}: training diverges; lower --learning-rate "
            f"(now {config.learning_rate:g})"
        )


def _placed(network: NormalisedNetwork, device: torch.device) -> NormalisedNetwork:
    """The network on its device; a CPU's convolutions are twice as fast with the channels last."""
    if device.type != "cpu":
        return network.to(device)
    for weights in network.parameters():
        if weights.dim() == 4:
            # `to`, since `contiguous` leaves the strides of a single channel as they are.
            weights.data = weights.data.to(memory_format=torch.channels_last)
    return network


def _compiled(judge: nn.Module, device: torch.device) -> nn.Module:
    """Fused by torch.compile, on a GPU with CUDA graphs: small networks wait for launches there."""
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return cast("nn.Module", torch.compile(judge, mode=mode))


def _label_weights(config: TrainConfig, train: Batches) -> Tensor | None:
    if config.balance != "weights":
        return None
    held, n_labels = train.targets.values, train.targets.n_labels
    return (
        positive_weights(held, n_labels) if config.loss == "bce" else loss_weights(held, n_labels)
    )


@torch.no_grad()
def _average(average: NormalisedNetwork, network: NormalisedNetwork, decay: float) -> None:
    """Move the average towards the network; whole numbers (counters) are copied."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _to_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
