"""Arrays on layers with quantized weights, in every format of the installed ComfyUI, compared with core's own chain.

A weight is patched in two ways: once, and quantized again; or at each forward, after it is dequantized.
"""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import comfy.ops
import comfy.quant_ops
import comfy.weight_adapter
import pytest
import torch
from air_lora_pack.nodes.patching import bypass_plan
from air_lora_pack.nodes.patching.bypass_choice import DeviceCosts, choose
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.results import patched
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CPU = torch.device("cpu")
SIZE, RANK, COUNT, STRENGTH = 256, 8, 5, 0.4
KEY = "layer.weight"
FORMATS = [
    *((name, {}) for name in comfy.quant_ops.QUANT_ALGOS),
    *(
        (name, {"convrot": True, "per_channel": True})
        for name in comfy.quant_ops.QUANT_ALGOS
        if name.startswith("int8")
    ),
]


def numbers(*shape: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


class OneLayer(torch.nn.Module):
    """As ComfyUI builds a model from a checkpoint in that format: the layer is given its format and then its weight."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        super().__init__()
        operations = comfy.ops.mixed_precision_ops(compute_dtype=torch.bfloat16)
        layout = comfy.quant_ops.QUANT_ALGOS[name]["comfy_tensor_layout"]
        self.layer = operations.Linear(SIZE, SIZE, bias=False, device=CPU, dtype=torch.bfloat16)
        self.layer.quant_format, self.layer.layout_type = name, layout
        weight = numbers(SIZE, SIZE, seed=100, spread=0.05).bfloat16()
        if name.startswith("float8"):
            options = options | {"scale": weight.abs().amax().float() / 448}
        quantized = comfy.quant_ops.QuantizedTensor.from_float(weight, layout, **options)
        self.layer.weight = torch.nn.Parameter(quantized, requires_grad=False)
        self.layer.weight_function, self.layer.bias_function = [], []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs)


def lora(seed: int) -> Any:
    up, down = numbers(SIZE, RANK, seed=seed, spread=0.03), numbers(RANK, SIZE, seed=seed + 50)
    return comfy.weight_adapter.LoRAAdapter(set(), (up.half(), down.half(), float(RANK), None, None, None))


LORAS = [lora(seed) for seed in range(COUNT)]


def ours(patcher: Any) -> Any:
    entries = [
        WeightedPatches(f"lora[{seed}]", str(seed), f"{seed:064}", STRENGTH, {Target(KEY): value})
        for seed, value in enumerate(LORAS)
    ]
    clone = patcher.clone()
    clone.add_patches(stack_patches(entries), 1.0)
    return clone


def chain(patcher: Any) -> Any:
    clone = patcher
    for value in LORAS:
        clone = clone.clone()
        clone.add_patches({KEY: value}, STRENGTH)
    return clone


def output(patcher: Any, *, at_each_forward: bool) -> torch.Tensor:
    """The output of the patched layer, on ComfyUI's path for a model that fits into memory, or for one that doesn't."""
    inputs = numbers(64, SIZE, seed=200).bfloat16()
    layer = patcher.model.layer
    if at_each_forward:
        layer.weight_function = [comfy.model_patcher.LowVramPatch(KEY, patcher.patches)]
        result = patcher.model(inputs)
        assert torch.equal(patcher.model(inputs), result)
        layer.weight_function = []
        return result
    patcher.patch_weight_to_device(KEY)
    # Without the layer's own forward: ComfyUI 0.3.75's fails for the fp32 of a patched weight, and a CPU has no product
    # for some formats.
    result = inputs.double() @ layer.weight.dequantize().double().T
    patcher.unpatch_model(CPU)
    return result


@pytest.mark.parametrize("at_each_forward", [False, True], ids=["for good", "at each forward"])
@pytest.mark.parametrize(
    ("name", "options"), FORMATS, ids=[f"{name} {'convrot' if more else ''}" for name, more in FORMATS]
)
def test_five_loras_are_no_farther_from_the_exact_output_than_core_s_chain(
    name: str, options: dict[str, Any], at_each_forward: bool
) -> None:
    model = OneLayer(name, options)
    patcher = comfy.model_patcher.ModelPatcher(model, CPU, CPU)
    inputs = numbers(64, SIZE, seed=200).bfloat16().double()
    wanted = model.layer.weight.dequantize().double()
    untouched = inputs @ wanted.T
    for value in LORAS:
        up, down = (factor.double() for factor in value.weights[:2])
        wanted = wanted + STRENGTH * (up @ down)
    exact = inputs @ wanted.T
    errors = {
        who.__name__: float(
            (output(who(patcher), at_each_forward=at_each_forward).double() - exact).norm() / exact.norm()
        )
        for who in (chain, ours)
    }
    without = float((untouched - exact).norm() / exact.norm())
    print(
        f"{name} {options}: ours {errors['ours']:.4f}, core's chain {errors['chain']:.4f}, none {without:.4f}"
    )
    # Quantized again, both have the format's own error, which varies slightly with the last digits of the sum.
    assert errors["ours"] <= errors["chain"] * (1.0 if at_each_forward else 1.02)
    assert errors["ours"] < without / 2


@pytest.mark.parametrize(
    ("name", "options"), FORMATS, ids=[f"{name} {'convrot' if more else ''}" for name, more in FORMATS]
)
def test_beside_the_layer_nothing_of_a_lora_is_lost_to_rounding(name: str, options: dict[str, Any]) -> None:
    """Its part of the output, against float64: in the weight it is quantized, in a bypass only rounded to bf16."""
    model = OneLayer(name, options)
    # As for weights loaded for each forward, which are dequantized. A CPU has no product for some formats.
    model.layer.weight_function = [lambda weight: weight]
    patcher = comfy.model_patcher.ModelPatcher(model, CPU, CPU)
    inputs = numbers(64, SIZE, seed=200).bfloat16()
    plain = model(inputs)
    weight = model.layer.weight.dequantize().double()
    entries = [
        WeightedPatches(f"lora[{seed}]", str(seed), f"{seed:064}", STRENGTH, {Target(KEY): value})
        for seed, value in enumerate(LORAS)
    ]
    part = sum(
        STRENGTH * (inputs.double() @ each.weights[1].double().T @ each.weights[0].double().T)
        for each in LORAS
    )

    beside = patched(patcher, entries, {KEY: (SIZE, SIZE)}, bypass=True).patcher
    assert not beside.patches
    model.current_weight_patches_uuid = beside.patches_uuid  # as when it is loaded
    beside.inject_model()
    whole = model(inputs)
    beside.eject_model()
    assert torch.equal(model(inputs), plain)

    model.layer.weight_function = []
    in_weight = output(ours(patcher), at_each_forward=False) - inputs.double() @ weight.T
    lost_beside, lost_in_weight = (
        float((found - part).norm() / part.norm()) for found in (whole.double() - plain.double(), in_weight)
    )
    print(f"{name}: {lost_beside:.4f} of the LoRAs lost beside the layer, {lost_in_weight:.4f} in its weight")
    assert lost_beside < 0.02
    assert lost_beside < lost_in_weight / 2


def test_auto_goes_beside_quantized_layers_and_into_others() -> None:
    model = OneLayer(*FORMATS[0])
    quantized = comfy.model_patcher.ModelPatcher(model, CPU, CPU)
    assert choose(quantized, [KEY], DeviceCosts()).bypass
    model.layer.weight = torch.nn.Parameter(torch.zeros(SIZE, SIZE), requires_grad=False)
    assert not choose(comfy.model_patcher.ModelPatcher(model, CPU, CPU), [KEY], DeviceCosts()).bypass


def test_int8_layers_whose_weight_a_model_reads_itself_are_patched() -> None:
    """Newer ComfyUI's `linear_input_act` doesn't call any layer there."""

    class Weight(torch.nn.Parameter):
        _layout_cls = "TensorWiseINT8Layout"

    model = torch.nn.Module()
    model.blocks = torch.nn.ModuleList([torch.nn.Module()])
    model.blocks[0].ffn = torch.nn.ModuleList([torch.nn.Linear(SIZE, SIZE) for _ in range(3)])
    for layer in model.blocks[0].ffn:
        layer.weight = Weight(layer.weight.data, requires_grad=False)
    keys = [f"blocks.0.ffn.{number}.weight" for number in (0, 2)]
    entry = WeightedPatches("lora[0]", "", "0", 1.0, {Target(key): LORAS[0] for key in keys})
    made = bypass_plan.plan(model, dict.fromkeys(keys, (SIZE, SIZE)), [entry])
    assert list(made.layers) == ["blocks.0.ffn.0"]
    assert made.reasons == ({bypass_plan.READ_DIRECTLY: 1},)
