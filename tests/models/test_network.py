"""The head with an output for no label."""

import torch

from models.network import NoLabelHead
from models.zoo import build


def test_probabilities_sum_to_one_and_no_label_is_shared_out() -> None:
    torch.manual_seed(0)
    head = NoLabelHead(8, 3)
    x = torch.randn(5, 8)
    plain = torch.softmax(torch.nn.functional.linear(x, head.weight, head.bias), dim=1)
    found = head(x).exp()
    torch.testing.assert_close(found.sum(1), torch.ones(5))
    torch.testing.assert_close(found, plain[:, :3] + plain[:, 3:] / 3)


def test_sureness_of_no_label_makes_all_labels_alike_and_keeps_their_order() -> None:
    head = NoLabelHead(4, 3)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0, 2.0, 0.0, 8.0]))
    found = head(torch.zeros(1, 4))
    assert found.exp().max() < 0.34
    assert found.argmax() == 1


def test_a_network_is_built_with_it_where_it_is_asked_for() -> None:
    network = build("tcresnet", 40, 63, 10, {}, no_label=True)
    assert isinstance(network.head, NoLabelHead)
    assert network.train()(torch.randn(2, 40, 63)).shape == (2, 10)
