"""Multiply-adds of small networks equal counts by hand."""

import torch
from torch import nn

from earful.models.layers.base import Network
from earful.models.networks.flops import multiply_adds


def test_multiply_adds_of_a_small_network_equal_a_count_by_hand() -> None:
    class Small(Network):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv1d(4, 6, 3, padding=1, groups=2)
            self.recurrent = nn.GRU(6, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            outputs, _ = self.recurrent(self.convolution(x).transpose(1, 2))
            return outputs[:, -1]

    convolution, recurrent, head = 10 * 6 * 2 * 3, 10 * 3 * (6 * 5 + 5 * 5), 5 * 2
    assert multiply_adds(Small(), 4, 10) == convolution + recurrent + head


def test_transposed_convolution_costs_the_same_as_its_convolution() -> None:
    class Reversed(Network):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.Identity()

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.unsqueeze(1).expand(-1, self.layer.weight.shape[0], -1, -1))

    class Forwards(Reversed):
        def embed(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.unsqueeze(1).expand(-1, self.layer.weight.shape[1], -1, -1))

    up = Reversed(nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1))
    down = Forwards(nn.Conv2d(4, 6, 3, stride=2, padding=1))
    assert multiply_adds(up, 5, 8) == multiply_adds(down, 10, 16) == 5 * 8 * 6 * 4 * 9
