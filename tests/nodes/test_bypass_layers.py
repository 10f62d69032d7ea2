"""The formula of a bypass, on single layers: y + Σ sᵢ·Bᵢ(Aᵢx) is what a layer gives with the product in its weight."""

from __future__ import annotations

import pytest
import torch
from air_lora_pack.nodes.patching.bypass import Factors, parts_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]


def layers() -> dict[str, tuple[torch.nn.Module, torch.Tensor]]:
    made = {
        "linear": (torch.nn.Linear(12, 20), torch.randn(2, 5, 12)),
        "linear without bias": (torch.nn.Linear(12, 20, bias=False), torch.randn(7, 12)),
        "conv2d": (torch.nn.Conv2d(6, 8, 3, padding=1), torch.randn(2, 6, 9, 7)),
        "stride": (torch.nn.Conv2d(6, 8, 3, stride=2, padding=1), torch.randn(2, 6, 9, 7)),
        "groups": (torch.nn.Conv2d(6, 8, 3, padding=1, groups=2), torch.randn(2, 6, 9, 7)),
        "dilation": (torch.nn.Conv2d(6, 8, 3, dilation=2), torch.randn(1, 6, 9, 9)),
        "tiled": (torch.nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular"), torch.randn(1, 6, 9, 9)),
        "conv1d": (torch.nn.Conv1d(6, 8, 3, padding="same"), torch.randn(2, 6, 11)),
        "conv3d": (torch.nn.Conv3d(4, 6, (1, 2, 2), stride=(1, 2, 2)), torch.randn(1, 4, 3, 6, 6)),
    }
    return {name: (layer.requires_grad_(False), x) for name, (layer, x) in made.items()}


@pytest.mark.parametrize("name", layers())
def test_a_layer_with_factors_beside_it_is_the_layer_with_their_product_in_it(name: str) -> None:
    torch.manual_seed(1)
    layer, x = layers()[name]
    shape = layer.weight.shape
    factors = [
        Factors(n, None, torch.randn(shape[0], 3), torch.randn(3, *shape[1:]), 0.5 + n) for n in range(3)
    ]
    strengths = torch.tensor([0.7, -0.3, 0.2])
    ours = parts_of(factors).add(layer, x, layer(x), strengths)
    for each in factors:
        product = (each.up @ each.down.flatten(1)).reshape(shape)
        layer.weight += float(strengths[each.entry]) * each.scale * product
    torch.testing.assert_close(ours, layer(x), rtol=1e-4, atol=1e-4)


def test_a_layer_that_somebody_has_widened_since() -> None:
    torch.manual_seed(3)
    layer, x = torch.nn.Linear(14, 24).requires_grad_(False), torch.randn(2, 5, 14)
    factors = [Factors(0, None, torch.randn(20, 3), torch.randn(3, 12), 1.0)]
    ours = parts_of(factors).add(layer, x, layer(x), torch.tensor([0.5]))
    layer.weight[:20, :12] += 0.5 * factors[0].up @ factors[0].down
    torch.testing.assert_close(ours, layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [(0, 5, 10), (1, 2, 6), (0, 0, 20), (1, 0, 12)])
def test_a_slice_of_a_layer_s_outputs_or_inputs(offset: tuple[int, int, int]) -> None:
    torch.manual_seed(2)
    layer, x = torch.nn.Linear(12, 20).requires_grad_(False), torch.randn(2, 5, 12)
    part = layer.weight.narrow(*offset)
    factors = [Factors(0, offset, torch.randn(part.shape[0], 3), torch.randn(3, part.shape[1]), 1.0)]
    ours = parts_of(factors).add(layer, x, layer(x), torch.tensor([0.5]))
    part += 0.5 * factors[0].up @ factors[0].down
    torch.testing.assert_close(ours, layer(x), rtol=1e-4, atol=1e-4)
