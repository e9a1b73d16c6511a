"""One epoch of learning: the network, its optimizer, and the running average that is released."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from earful.models.layers.normalise import NormalisedNetwork
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.loader import Batches
from earful.training.loaders.sampler import Cut, Part
from earful.training.trainer.checkpoint import Checkpoint, EpochRecord, rebuild_network
from earful.training.trainer.distributed import Team
from earful.training.trainer.layer_health import PROBE_CLIPS, LayerHealth, examine
from earful.training.trainer.loss_module import Judge, Sums, compiled, label_weights
from earful.training.trainer.lr_schedules import learning_rate
from earful.training.trainer.objectives import Judged, objective_of
from earful.training.trainer.optimizers import make_optimizer
from earful.training.trainer.shard_state import (
    ShardState,
    random_state,
    running_statistics,
    set_random_state,
)

# The average follows closely while there are few steps to average over.
_AVERAGING_RAMP_STEPS = 20
# A loss beyond it (in nats, for each label) is lost. To look every so many batches is often enough:
# it makes a GPU wait.
DIVERGED_LOSS, _LOOK_BATCHES = 100.0, 50


class DivergedError(TrainingError):
    """The loss is no number any more, or far beyond what guessing costs."""


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
        released = _placed(rebuild_network(checkpoint), device, config)
        network = released
        if config.averaging:
            network = copy.deepcopy(released)
            network.load_state_dict(checkpoint.learning or checkpoint.weights)
        optimizer = make_optimizer(network, config)
        if checkpoint.optimizer:
            optimizer.load_state_dict(checkpoint.optimizer)
        judge: nn.Module = Judge(network, config, label_weights(config, train.targets))
        if config.compile:
            judge = compiled(judge, device, config)
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
        sums, probe, done, rate = Sums(), None, 0, config.learning_rate
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
                if done % _LOOK_BATCHES == 0:
                    _check(sums.loss(), config, train.targets.n_labels)
                on_batch(epoch, done, n_batches)
        loss, accuracy = sums.over(self.team, len(train.epoch))
        _check(loss, config, train.targets.n_labels)
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
            optimizer=copy.deepcopy(self.optimizer.state_dict()),  # which goes on changing
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
        """A step of L-BFGS: the same dropout and statistics wherever the line search looks."""
        first: list[Judged] = []
        device = part.features.device
        random = random_state(device)
        running = running_statistics(self.network)
        before = [values.clone() for values in running]

        def closure() -> float:
            set_random_state(random, device)
            for values, value in zip(running, before, strict=True):
                values.copy_(value)
            optimizer.zero_grad(set_to_none=True)
            judged = Judged(*self.judge(part.features, part.targets))
            judged.loss.backward()  # type: ignore[no-untyped-call]
            first.append(replace(judged, loss=judged.loss.detach()))
            self._add_l1()
            return float(judged.loss.detach()) + self._l1_penalty()

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
            if config.max_gradient_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient_norm)
            self.optimizer.step()
        if self.released is not self.network:
            decay = min(config.averaging, step / (step + _AVERAGING_RAMP_STEPS))
            _average(self.released, self.network, decay)

    @torch.no_grad()
    def _add_l1(self) -> None:
        """Add the gradient of the L1 penalty. Biases go without it."""
        if not self.config.l1:
            return
        for weights in self.network.parameters():
            if weights.dim() > 1 and weights.grad is not None:
                weights.grad.add_(weights.sign(), alpha=self.config.l1)

    @torch.no_grad()
    def _l1_penalty(self) -> float:
        """The penalty itself, which a line search has to know."""
        if not self.config.l1:
            return 0.0
        sizes = [w.abs().sum() for w in self.network.parameters() if w.dim() > 1]
        return self.config.l1 * float(torch.stack(sizes).sum())

    def _examine(self, probe: Part | None) -> tuple[LayerHealth, ...]:
        if probe is None:
            return ()
        judge, targets = objective_of(self.config.model).judge, probe.targets
        return examine(
            self.network,
            probe.features,
            lambda x: judge(self.network, x, targets, self.config, None).loss,
        )


def diverged(name: str, loss: float, config: TrainConfig) -> DivergedError:
    """What to say of a loss that is lost."""
    return DivergedError(
        f"the {name} is {loss:.4g}: training diverges; lower --learning-rate "
        f"(now {config.learning_rate:g})"
    )


def _check(loss: float, config: TrainConfig, n_labels: int) -> None:
    if not loss < DIVERGED_LOSS * n_labels:
        raise diverged("loss", loss, config)


def _placed(
    network: NormalisedNetwork, device: torch.device, config: TrainConfig
) -> NormalisedNetwork:
    """The network on its device; a CPU's convolutions are twice as fast with the channels last.

    PyTorch's L-BFGS reads gradients as one line of numbers, which those are not.
    """
    if device.type != "cpu" or config.optimizer == "lbfgs":
        return network.to(device)
    for weights in network.parameters():
        if weights.dim() == 4:
            # `to`, since `contiguous` leaves the strides of a single channel as they are.
            weights.data = weights.data.to(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def _average(average: NormalisedNetwork, network: NormalisedNetwork, decay: float) -> None:
    """Move the average towards the network; whole numbers (counters) are copied."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    moved = [pair for pair in pairs if pair[0].dtype.is_floating_point]
    torch._foreach_lerp_([kept for kept, _ in moved], [new for _, new in moved], 1 - decay)
    for kept, new in pairs:
        if not kept.dtype.is_floating_point:
            kept.copy_(new)


def _to_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
