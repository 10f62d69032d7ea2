"""The bypass formula on single layers: y + Σ sᵢ·Bᵢ(Aᵢx) equals the layer's output with the product in its weight."""

from __future__ import annotations

import comfy.weight_adapter
import pytest
import torch
from air_lora_pack.nodes.patching import bypass_plan
from air_lora_pack.nodes.patching.bypass_layers import Factors, KroneckerFactors, parts_of
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.stack import WeightedPatches

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


@pytest.mark.parametrize("is_product", [True, False])
@pytest.mark.parametrize("name", [name for name in layers() if name != "groups"])
def test_kronecker_factors_beside_a_layer(name: str, is_product: bool) -> None:
    torch.manual_seed(4)
    layer, x = layers()[name]
    outputs, inputs, *kernel = layer.weight.shape
    first = torch.randn(2, inputs // 2)
    second = torch.randn(outputs // 2, 3) if is_product else None
    down = torch.randn(3 if is_product else outputs // 2, 2, *kernel)
    ours = parts_of([KroneckerFactors(0, None, first, second, down, 0.5)])
    given = ours.add(layer, x, layer(x), torch.tensor([0.7]))
    whole = (down.flatten(1) if second is None else second @ down.flatten(1)).reshape(outputs // 2, 2, -1)
    product = torch.einsum("oi,pjk->opijk", first, whole).reshape(layer.weight.shape)
    layer.weight += 0.7 * 0.5 * product
    torch.testing.assert_close(given, layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [(0, 5, 10), (1, 2, 6)])
def test_kronecker_factors_of_a_slice(offset: tuple[int, int, int]) -> None:
    torch.manual_seed(5)
    layer, x = torch.nn.Linear(12, 20).requires_grad_(False), torch.randn(2, 5, 12)
    part = layer.weight.narrow(*offset)
    first, down = torch.randn(5, 3), torch.randn(part.shape[0] // 5, part.shape[1] // 3)
    ours = parts_of([KroneckerFactors(0, offset, first, None, down, 1.0)])
    given = ours.add(layer, x, layer(x), torch.tensor([0.5]))
    part += 0.5 * torch.kron(first, down)
    torch.testing.assert_close(given, layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("first", "layer", "reason"),
    [
        (8, torch.nn.Linear(64, 64), None),
        (2, torch.nn.Linear(64, 64), bypass_plan.LARGE_FACTORS),
        (8, torch.nn.Conv2d(64, 64, 3), None),
        (8, torch.nn.Conv2d(64, 64, 3, groups=2), bypass_plan.GROUPED),
    ],
)
def test_kronecker_factors_stand_beside_a_layer_where_they_are_small(
    first: int, layer: torch.nn.Module, reason: str | None
) -> None:
    model = torch.nn.Module()
    model.layer = layer.requires_grad_(False)
    shape = tuple(layer.weight.shape)
    factors = torch.randn(first, first), torch.randn(shape[0] // first, 64 // first, *shape[2:])
    adapter = comfy.weight_adapter.LoKrAdapter(set(), (*factors, None, None, None, None, None, None, None))
    entry = WeightedPatches("lora[0]", "", "0", 1.0, {Target("layer.weight"): adapter})
    plan = bypass_plan.plan(model, {"layer.weight": shape}, [entry])
    assert plan.reasons == (({reason: 1},) if reason else ({},))
    assert plan.bypassed == (0 if reason else 1,)
