"""Training steps: the network, its optimizer, and the moving average of its weights."""

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
from earful.training.loaders.loader import BatchLoader
from earful.training.loaders.sampler import BatchPlan, BatchShard
from earful.training.trainer.checkpoint import Checkpoint, EpochRecord, rebuild_network
from earful.training.trainer.devices import random_state, set_random_state
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.layer_health import PROBE_CLIPS, LayerHealth, measure_layer_health
from earful.training.trainer.loss_module import (
    LossModule,
    RunningTotals,
    compile_module,
    label_weights,
)
from earful.training.trainer.lr_schedules import learning_rate
from earful.training.trainer.objectives import BatchResult, objective_for
from earful.training.trainer.optimizers import RATE_SCALE, build_optimizer
from earful.training.trainer.piecewise_gradient import PiecewiseGradient
from earful.training.trainer.shard_state import ShardState, running_statistics

# The decay of the moving average grows over about this many steps: step / (step + 20).
_EMA_RAMP_STEPS = 20
# Training has diverged at this loss, in nats per label. It is not checked at every batch, since
# reading the loss makes a GPU wait.
DIVERGED_LOSS, _CHECK_EVERY_BATCHES = 100.0, 50


class DivergedError(TrainingError):
    """The loss is not finite, or far above that of guessing."""


@dataclass(frozen=True)
class EpochResult:
    """Mean training loss and accuracy of an epoch, its last learning rate, and layer health."""

    loss: float
    accuracy: float | None
    learning_rate: float
    layers: tuple[LayerHealth, ...]


@dataclass(frozen=True)
class TrainStep:
    """``network`` is trained; ``ema_network`` is its moving average, or the same object.

    ``piecewise`` computes gradients on the cores of a CPU, where the network allows it.
    """

    network: NormalisedNetwork
    ema_network: NormalisedNetwork
    optimizer: torch.optim.Optimizer
    loss_module: nn.Module
    config: TrainConfig
    dist_context: DistributedContext
    piecewise: PiecewiseGradient | None

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        train: BatchLoader,
        device: torch.device,
        dist_context: DistributedContext | None = None,
    ) -> Self:
        """Restore the state of a checkpoint, to train on the clips of ``train``.

        Raises:
            TrainingError: the optimizer does not support the network or a setting.
        """
        config, dist_context = checkpoint.config, dist_context or DistributedContext()
        ema_network = _to_device(rebuild_network(checkpoint), device, config)
        network = ema_network
        if config.ema_decay:
            network = copy.deepcopy(ema_network)
            network.load_state_dict(checkpoint.raw_weights or checkpoint.weights)
        optimizer = build_optimizer(network, config)
        if checkpoint.optimizer:
            optimizer.load_state_dict(checkpoint.optimizer)
            _fit_state(optimizer)
        plain_module = LossModule(network, config, label_weights(config, train.targets))
        loss_module: nn.Module = plain_module
        if config.compile:
            loss_module = compile_module(plain_module, device, config)
        if dist_context.world_size > 1:
            # ShardState averages the batch statistics.
            loss_module = DistributedDataParallel(loss_module, broadcast_buffers=False)
        piecewise = None
        if loss_module is plain_module and device.type == "cpu":
            piecewise = PiecewiseGradient.for_network(plain_module, config.batch_size)
        return cls(network, ema_network, optimizer, loss_module, config, dist_context, piecewise)

    def train_epoch(
        self,
        train: BatchLoader,
        history: Sequence[EpochRecord],
        on_batch: Callable[[int, int, int], None],
    ) -> EpochResult:
        """One pass over the training clips, after the epochs of ``history``.

        The accuracy is None where no clip has a label.

        Raises:
            DivergedError: the loss is not finite, or far above that of guessing.
        """
        config, epoch = self.config, len(history) + 1
        seed = config.seed * 1_000_003 + epoch
        plan = BatchPlan(
            config.batch_size, seed, config.shards, self.dist_context.shard_range(config.shards)
        )
        n_batches = plan.batches(len(train.sampler))
        val_losses = [record.val_loss for record in history]
        state = ShardState(self.network, plan, self.dist_context)
        self.network.train()
        totals, probe, done, rate = RunningTotals(), None, 0, config.learning_rate
        for batch_shard in train.batch_shards(plan):
            if batch_shard.shard == plan.own_shards[0]:
                step = (epoch - 1) * n_batches + done + 1
                rate = learning_rate(config, step, n_batches, val_losses)
                self._begin_step(rate)
            probe = probe or replace(
                batch_shard,
                features=batch_shard.features[:PROBE_CLIPS],
                targets=batch_shard.targets[:PROBE_CLIPS],
            )
            with state.for_shard(batch_shard.shard):
                batch_result = self._backward(batch_shard)
            totals.add(batch_result, batch_shard)
            if batch_shard.is_last:
                done += 1
                state.average_statistics()
                self._end_step((epoch - 1) * n_batches + done)
                if done % _CHECK_EVERY_BATCHES == 0:
                    _check_divergence(totals.loss(), config, train.targets.n_labels)
                on_batch(epoch, done, n_batches)
        loss, accuracy = totals.reduce(self.dist_context, len(train.sampler))
        _check_divergence(loss, config, train.targets.n_labels)
        return EpochResult(loss, accuracy, rate, self._layer_health(probe))

    def single_step(self, batch_shard: BatchShard, rate: float) -> float:
        """One step with a whole batch at a learning rate; returns the loss before it."""
        self.network.train()
        self._begin_step(rate)
        batch_result = self._backward(batch_shard)
        self._end_step(1)
        return float(batch_result.loss.detach())

    def checkpoint(self, before: Checkpoint, record: EpochRecord) -> Checkpoint:
        """The checkpoint after one more epoch."""
        has_ema = self.ema_network is not self.network
        return replace(
            before,
            weights=_to_cpu(self.ema_network.state_dict()),
            raw_weights=_to_cpu(self.network.state_dict()) if has_ema else {},
            optimizer=copy.deepcopy(self.optimizer.state_dict()),  # later steps change it
            history=(*before.history, record),
        )

    def _begin_step(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(RATE_SCALE, 1.0)
        self.optimizer.zero_grad(set_to_none=True)

    def _backward(self, batch_shard: BatchShard) -> BatchResult:
        """Add a shard's gradient, weighted by its share; L-BFGS takes its whole step here."""
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self._line_search(batch_shard, self.optimizer)
        if self.piecewise is not None:
            return self.piecewise.add(batch_shard)
        with self._gradient_sync(batch_shard):
            batch_result = BatchResult(*self.loss_module(batch_shard.features, batch_shard.targets))
            # DistributedDataParallel averages gradients over processes; here they must be summed.
            scale = batch_shard.share * self.dist_context.world_size
            (batch_result.loss * scale).backward()  # type: ignore[no-untyped-call]
        return batch_result

    def _line_search(self, batch_shard: BatchShard, optimizer: torch.optim.LBFGS) -> BatchResult:
        """A step of L-BFGS, with the same dropout and batch statistics at each evaluation."""
        first: list[BatchResult] = []
        device = batch_shard.features.device
        random = random_state(device)
        running = running_statistics(self.network)
        before = [values.clone() for values in running]

        def closure() -> float:
            set_random_state(random, device)
            for values, value in zip(running, before, strict=True):
                values.copy_(value)
            optimizer.zero_grad(set_to_none=True)
            batch_result = BatchResult(*self.loss_module(batch_shard.features, batch_shard.targets))
            batch_result.loss.backward()  # type: ignore[no-untyped-call]
            first.append(replace(batch_result, loss=batch_result.loss.detach()))
            self._add_l1()
            return float(batch_result.loss.detach()) + self._l1_penalty()

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return first[0]

    def _gradient_sync(self, batch_shard: BatchShard) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients once a batch: with their last shard."""
        if isinstance(self.loss_module, DistributedDataParallel) and not batch_shard.is_last:
            return cast("contextlib.AbstractContextManager[None]", self.loss_module.no_sync())
        return contextlib.nullcontext()

    def _end_step(self, step: int) -> None:
        config = self.config
        if not isinstance(self.optimizer, torch.optim.LBFGS):
            self._add_l1()
            if config.grad_clip is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), config.grad_clip)
            self.optimizer.step()
        if self.ema_network is not self.network:
            decay = min(config.ema_decay, step / (step + _EMA_RAMP_STEPS))
            _update_ema(self.ema_network, self.network, decay)

    @torch.no_grad()
    def _add_l1(self) -> None:
        """Add the gradient of the L1 penalty of all weights but biases."""
        if not self.config.l1:
            return
        for weights in self.network.parameters():
            if weights.dim() > 1 and weights.grad is not None:
                weights.grad.add_(weights.sign(), alpha=self.config.l1)

    @torch.no_grad()
    def _l1_penalty(self) -> float:
        """The L1 penalty, which a line search needs as part of the loss."""
        if not self.config.l1:
            return 0.0
        sizes = [w.abs().sum() for w in self.network.parameters() if w.dim() > 1]
        return self.config.l1 * float(torch.stack(sizes).sum())

    def _layer_health(self, probe: BatchShard | None) -> tuple[LayerHealth, ...]:
        if probe is None:
            return ()
        compute_loss, targets = objective_for(self.config.model).compute_loss, probe.targets
        return measure_layer_health(
            self.network,
            probe.features,
            lambda x: compute_loss(self.network, x, targets, self.config, None).loss,
        )


def divergence_error(name: str, loss: float, config: TrainConfig) -> DivergedError:
    """The error for a diverged loss; ``name`` is training or validation loss."""
    return DivergedError(
        f"the {name} is {loss:.4g}: training diverges; lower --learning-rate "
        f"(now {config.learning_rate:g})"
    )


def _check_divergence(loss: float, config: TrainConfig, n_labels: int) -> None:
    if not loss < DIVERGED_LOSS * n_labels:
        raise divergence_error("loss", loss, config)


def _fit_state(optimizer: torch.optim.Optimizer) -> None:
    """Give state of an earlier version the axes of its weights (``tcresnet`` got one more)."""
    for weights, state in optimizer.state.items():
        for name, value in state.items():
            is_tensor = isinstance(value, Tensor) and value.dim() > 0
            if is_tensor and value.numel() == weights.numel():
                state[name] = value.reshape(weights.shape)


def _to_device(
    network: NormalisedNetwork, device: torch.device, config: TrainConfig
) -> NormalisedNetwork:
    """Move the network to its device; on a CPU with channels last, twice as fast for convolutions.

    Not with L-BFGS: PyTorch's implementation needs contiguous gradients.
    """
    if device.type != "cpu" or config.optimizer == "lbfgs":
        return network.to(device)
    for weights in network.parameters():
        if weights.dim() == 4:
            # Not `contiguous`: it leaves the strides of a single channel as they are.
            weights.data = weights.data.to(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def _update_ema(ema_network: NormalisedNetwork, network: NormalisedNetwork, decay: float) -> None:
    """Update the moving average of the weights; integers (counters) are copied."""
    pairs = list(zip(ema_network.state_dict().values(), network.state_dict().values(), strict=True))
    float_pairs = [pair for pair in pairs if pair[0].dtype.is_floating_point]
    torch._foreach_lerp_(
        [average for average, _ in float_pairs], [new for _, new in float_pairs], 1 - decay
    )
    for average, new in pairs:
        if not average.dtype.is_floating_point:
            average.copy_(new)


def _to_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
