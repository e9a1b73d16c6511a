"""From features to a loss, as one module; and what the parts of an epoch add up to."""

from typing import cast

import torch
from torch import Tensor, nn

from earful.models.layers.normalise import NormalisedNetwork
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.class_weights import loss_weights, positive_weights
from earful.training.loaders.sampler import Part, Targets
from earful.training.trainer.distributed import Team
from earful.training.trainer.objectives import Judged, objective_of


class Judge(nn.Module):
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


def compiled(judge: nn.Module, device: torch.device, config: TrainConfig) -> nn.Module:
    """Fused by torch.compile, on a GPU with CUDA graphs: small networks wait for launches there.

    Graphs use their memory again at the next call, before the parts of a step have met.
    """
    graphs = device.type == "cuda" and config.shards == 1
    mode = "reduce-overhead" if graphs else "default"
    return cast("nn.Module", torch.compile(judge, mode=mode))


def label_weights(config: TrainConfig, targets: Targets) -> Tensor | None:
    """What each label counts in the loss (labels,); None where all count alike."""
    if config.balance != "weights":
        return None
    held, n_labels = targets.values, targets.n_labels
    return (
        positive_weights(held, n_labels) if config.loss == "bce" else loss_weights(held, n_labels)
    )


class Sums:
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
