"""The sum of several deltas on one weight: exact, and without an order."""

from __future__ import annotations

import itertools
from typing import Any

import comfy.lora
import pytest
import torch
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches
from comfy.weight_adapter import adapters

from lora_resolver import Mismatch

ADAPTERS = {adapter.name: adapter for adapter in adapters}
KEY = "diffusion_model.block.weight"


def randn(*shape: int, seed: int, std: float = 0.05) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * std


def lora(
    out: int, width: int, seed: int, *, rank: int = 4, dora: bool = False, dtype: Any = torch.float32
) -> Any:
    up = randn(out, rank, seed=seed).to(dtype)
    down = randn(rank, width, seed=seed + 1).to(dtype)
    scale = randn(out, 1, seed=seed + 2).abs() + 0.5 if dora else None
    return ADAPTERS["lora"](set(), (up, down, float(rank) / 2, None, scale, None))


def loha(out: int, width: int, seed: int) -> Any:
    parts = [randn(*shape, seed=seed + n) for n, shape in enumerate([(out, 3), (3, width)] * 2)]
    return ADAPTERS["loha"](set(), (parts[0], parts[1], 2.0, parts[2], parts[3], None, None, None))


def lokr(out: int, width: int, seed: int) -> Any:
    w1, w2 = randn(4, 4, seed=seed), randn(out // 4, width // 4, seed=seed + 1)
    return ADAPTERS["lokr"](set(), (w1, w2, 1.0, None, None, None, None, None, None))


def oft(out: int, _width: int, seed: int) -> Any:
    blocks = randn(4, out // 4, out // 4, seed=seed)
    return ADAPTERS["oft"](set(), (blocks - blocks.transpose(1, 2), None, 0.0, None))


def diff(out: int, width: int, seed: int) -> Any:
    return ("diff", (randn(out, width, seed=seed),))


KINDS = {
    "lora": lora,
    "dora": lambda out, width, seed: lora(out, width, seed, dora=True),
    "loha": loha,
    "lokr": lokr,
    "oft": oft,
    "diff": diff,
}


def entry(value: Any, strength: float, name: str, target: Target | None = None) -> WeightedPatches:
    return WeightedPatches(f"lora[{name}]", name, name, strength, {target or Target(KEY): value})


def ours(weight: torch.Tensor, entries: Any, **arguments: Any) -> torch.Tensor:
    patches = stack_patches(entries)
    if KEY not in patches:
        return weight.clone()
    return comfy.lora.calculate_weight(
        [(1.0, patches[KEY], 1.0, None, None)], weight.clone(), KEY, **arguments
    )


def core_chain(weight: torch.Tensor, entries: Any) -> torch.Tensor:
    """What chained LoraLoader nodes make of it."""
    patches = [
        (item.strength, value, 1.0, target.offset, target.function)
        for item in entries
        for target, value in item.patches.items()
    ]
    return comfy.lora.calculate_weight(patches, weight.clone(), KEY)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "lora"])
def test_one_entry_is_what_comfyui_makes_of_it_to_the_bit(kind: str) -> None:
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(KINDS[kind](32, 64, 5), 0.7, "a")]
    assert torch.equal(ours(weight, entries), core_chain(weight, entries))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_plain_lora_is_comfyui_s_within_one_rounding_of_the_weight_s_dtype(dtype: torch.dtype) -> None:
    weight = randn(64, 96, seed=0, std=0.05).to(dtype).float()
    entries = [entry(lora(64, 96, 5), 0.7, "a")]
    mine, core = ours(weight, entries).to(dtype).float(), core_chain(weight, entries).to(dtype).float()
    assert ((mine - core).abs() <= torch.finfo(dtype).eps * core.abs()).all()


def test_every_order_of_mixed_kinds_gives_the_same_bits() -> None:
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [
        entry(KINDS[kind](32, 64, 7 * number + 1), 0.3 + number / 10, kind)
        for number, kind in enumerate(KINDS)
    ][:5]
    results = [ours(weight, order) for order in itertools.permutations(entries)]
    assert all(torch.equal(results[0], result) for result in results)
    assert not torch.equal(core_chain(weight, entries), core_chain(weight, entries[::-1]))


def test_a_stack_is_the_sum_of_what_each_entry_alone_adds() -> None:
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(KINDS[kind](32, 64, 11 * n), 0.4, kind) for n, kind in enumerate(KINDS)]
    alone = sum(core_chain(weight, [item]).double() - weight.double() for item in entries)
    assert torch.allclose(ours(weight, entries).double(), weight.double() + alone, atol=1e-5)


def test_a_stack_of_plain_loras_is_no_further_from_the_exact_sum_than_comfyui_s_chain() -> None:
    weight = randn(256, 320, seed=0, std=0.05)
    entries = [entry(lora(256, 320, 3 * n, rank=16), 0.5 + n / 10, str(n)) for n in range(5)]
    exact = weight.double()
    for item in entries:
        up, down, alpha, *_ = item.patches[Target(KEY)].weights
        exact = exact + item.strength * alpha / down.shape[0] * (up.double() @ down.double())
    mine, core = ours(weight, entries).double() - exact, core_chain(weight, entries).double() - exact
    print(f"rms ours {mine.pow(2).mean().sqrt():.3e} core {core.pow(2).mean().sqrt():.3e}")
    print(f"max ours {mine.abs().max():.3e} core {core.abs().max():.3e}")
    assert mine.pow(2).mean().sqrt() <= core.pow(2).mean().sqrt()
    assert mine.abs().max() <= core.abs().max()


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 3, 3)], ids=str)
def test_convolutions(kernel: tuple[int, ...]) -> None:
    weight = randn(16, 8, *kernel, seed=0, std=1.0)
    up, down = randn(16, 4, *[1] * len(kernel), seed=1), randn(4, 8, *kernel, seed=2)
    entries = [entry(ADAPTERS["lora"](set(), (up, down, 2.0, None, None, None)), 0.8, name) for name in "ab"]
    assert torch.allclose(ours(weight, entries), core_chain(weight, entries), atol=1e-6)


def test_slices_of_one_weight_are_patched_apart() -> None:
    """FLUX: linear1 holds q, k, v and the MLP's first layer one below the other."""
    weight = randn(96, 32, seed=0, std=1.0)
    qkv = Target(KEY, (0, 0, 48))
    entries = [
        entry(lora(48, 32, 1), 0.5, "qkv", qkv),
        entry(lora(96, 32, 9), 0.5, "whole"),
        entry(lora(48, 32, 17, dora=True), 0.5, "dora", qkv),
    ]
    results = [ours(weight, order) for order in itertools.permutations(entries)]
    assert all(torch.equal(results[0], result) for result in results)
    only_qkv = ours(weight, [entries[0]])
    assert torch.equal(only_qkv[48:], weight[48:])
    assert torch.allclose(only_qkv, core_chain(weight, [entries[0]]), atol=1e-6)


def test_a_function_of_the_key_map_is_applied_to_the_delta() -> None:
    """SD3's last layer: ComfyUI swaps the halves of a delta from diffusers."""

    def swap(delta: torch.Tensor) -> torch.Tensor:
        first, second = delta.chunk(2, dim=0)
        return torch.cat([second, first])

    weight = randn(32, 16, seed=0, std=1.0)
    entries = [entry(lora(32, 16, 3 * n), 0.5, str(n), Target(KEY, None, swap)) for n in range(2)]
    assert torch.allclose(ours(weight, entries), core_chain(weight, entries), atol=1e-6)


def moved(value: Any, dtype: torch.dtype) -> Any:
    """As newer ComfyUI walks an adapter's weights when it moves them to a device."""
    if isinstance(value, torch.Tensor):
        return value.clone().to(dtype)
    if isinstance(value, tuple):
        return tuple(moved(item, dtype) for item in value)
    if isinstance(value, list):
        return [moved(item, dtype) for item in value]
    return value


def test_the_adapter_can_be_rebuilt_from_its_weights() -> None:
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(KINDS[kind](32, 64, 7 * n), 0.4, kind) for n, kind in enumerate(KINDS)]
    adapter = stack_patches(entries)[KEY]
    rebuilt = type(adapter)(adapter.loaded_keys, moved(adapter.weights, torch.float64))
    again = comfy.lora.calculate_weight([(1.0, rebuilt, 1.0, None, None)], weight.clone(), KEY)
    assert torch.allclose(again, ours(weight, entries), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_vram_mode_patches_the_weight_in_its_own_dtype_with_one_rounding(dtype: torch.dtype) -> None:
    weight = randn(64, 96, seed=0, std=0.05).to(dtype)
    entries = [entry(KINDS[kind](64, 96, 7 * n), 0.4, kind) for n, kind in enumerate(KINDS)]
    low = ours(weight, entries, intermediate_dtype=dtype)
    assert low.dtype == dtype
    assert torch.equal(low, ours(weight.float(), entries).to(dtype))


def test_a_downstream_node_s_strength_scales_the_whole_stack() -> None:
    """Model merging multiplies the strength of the patches that it takes over."""
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(lora(32, 64, n * 5), 0.6, str(n)) for n in range(2)]
    half = comfy.lora.calculate_weight(
        [(0.5, stack_patches(entries)[KEY], 1.0, None, None)], weight.clone(), KEY
    )
    expected = [entry(item.patches[Target(KEY)], 0.3, item.name) for item in entries]
    assert torch.allclose(half, ours(weight, expected), atol=1e-6)


def test_strength_zero_leaves_no_patch() -> None:
    assert stack_patches([entry(lora(8, 8, 1), 0.0, "a")]) == {}


def test_two_entries_that_replace_one_weight_are_an_error_that_names_both() -> None:
    values = [("set", (randn(8, 8, seed=n),)) for n in range(2)]
    with pytest.raises(Mismatch) as raised:
        stack_patches([entry(values[0], 1.0, "first"), entry(values[1], 1.0, "second")])
    assert raised.value.code == "conflictingReplacement"
    assert "first" in str(raised.value)
    assert "second" in str(raised.value)


def test_one_replacement_alone_is_taken_as_it_is() -> None:
    weight, new = randn(8, 8, seed=0), randn(8, 8, seed=1)
    assert torch.equal(ours(weight, [entry(("set", (new,)), 1.0, "a")]), new)
