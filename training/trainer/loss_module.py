"""The loss as a module, and the running totals of an epoch."""

from typing import cast

import torch
from torch import Tensor, nn

from earful.models.layers.normalise import NormalisedNetwork
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.class_weights import class_weights, positive_weights
from earful.training.loaders.sampler import BatchShard, Targets
from earful.training.trainer.devices import sum_dtype
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.objectives import BatchResult, objective_for


class LossModule(nn.Module):
    """Features and targets to the loss: the module that is compiled and distributed.

    Returns a ``BatchResult`` as a tuple of tensors, as torch.compile and
    DistributedDataParallel need.
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
        # Without the cache, which threads would share; each weight is used once.
        with torch.autocast(
            features.device.type, torch.bfloat16, self.in_bfloat16, cache_enabled=False
        ):
            batch_result = objective_for(self.config.model).compute_loss(
                self.network, features, targets, self.config, self.weights
            )
        return batch_result.loss, batch_result.n_correct, batch_result.n_labelled


def compile_module(loss_module: nn.Module, device: torch.device, config: TrainConfig) -> nn.Module:
    """Compile with torch.compile; on a GPU with CUDA graphs, since launches limit small networks.

    Not with several shards: a CUDA graph reuses its memory at the next call, while earlier shards
    of the batch are still needed.
    """
    uses_graphs = device.type == "cuda" and config.shards == 1
    mode = "reduce-overhead" if uses_graphs else "default"
    return cast("nn.Module", torch.compile(loss_module, mode=mode))


def label_weights(config: TrainConfig, targets: Targets) -> Tensor | None:
    """Weight of each label in the loss (labels,); None where all weigh the same."""
    if config.balance != "weights":
        return None
    compute = positive_weights if config.loss == "bce" else class_weights
    return compute(targets.values, targets.n_labels)


class RunningTotals:
    """Sums of the loss and of correct predictions over an epoch, on the device."""

    def __init__(self) -> None:
        self._totals: Tensor | None = None
        self._clips = 0

    def add(self, batch_result: BatchResult, batch_shard: BatchShard) -> None:
        n_clips = len(batch_shard.targets)
        loss = batch_result.loss.detach()
        batch_totals = torch.stack(
            [
                loss.to(sum_dtype(loss.device)) * n_clips,
                batch_result.n_correct,
                batch_result.n_labelled,
            ]
        )
        self._totals = batch_totals if self._totals is None else self._totals + batch_totals
        self._clips += n_clips

    def loss(self) -> float:
        """Mean loss of this process so far; NaN before the first batch."""
        return float("nan") if self._totals is None else float(self._totals[0]) / self._clips

    def reduce(self, dist_context: DistributedContext, n_clips: int) -> tuple[float, float | None]:
        """Mean loss and accuracy over all processes; accuracy None where no clip has a label."""
        if self._totals is None:
            return float("nan"), None
        loss, n_correct, n_labelled = dist_context.total(self._totals).tolist()
        return loss / n_clips, n_correct / n_labelled if n_labelled else None
