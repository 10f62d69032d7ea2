"""Weights that are patched at each forward, in their own dtype, as ComfyUI does for offloaded layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.weight_adapter
import pytest
import torch
from air_lora_pack.nodes.patching import bounded_cache as kept
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

SHAPES = {
    "linear": (640, 320),
    "convolution": (64, 32, 3, 3),
    "one row is more than is added at once": (3, 200_000),
}
COUNT, RANK, STRENGTH, ALPHA = 5, 4, 0.3, 2.0


@pytest.fixture(autouse=True)
def _as_comfyui_runs_nodes() -> Iterator[None]:
    before = kept.limit()
    with torch.inference_mode():
        yield
    kept.set_limit(before)


def factors(shape: tuple[int, ...], seed: int) -> Any:
    random = torch.Generator().manual_seed(seed)
    outputs, inputs, *kernel = shape
    up = torch.randn(outputs, RANK, *[1] * len(kernel), generator=random) * 0.1
    down = torch.randn(RANK, inputs, *kernel, generator=random) * 0.1
    return comfy.weight_adapter.LoRAAdapter(set(), (up.half(), down.half(), ALPHA, None, None, None))


def entries(shape: tuple[int, ...]) -> list[WeightedPatches]:
    return [
        WeightedPatches(
            f"lora[{seed}]",
            str(seed),
            f"{seed:064}",
            STRENGTH,
            {Target("layer.weight"): factors(shape, seed)},
        )
        for seed in range(COUNT)
    ]


def weight_of(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(9)).to(dtype)


def at_forward(patches: list[Any], weight: torch.Tensor) -> torch.Tensor:
    """Patches as ComfyUI's LowVramPatch does."""
    rows = [(1.0, patch, 1.0, None, None) for patch in patches]
    return comfy.lora.calculate_weight(rows, weight.clone(), "layer.weight", intermediate_dtype=weight.dtype)


def moved(value: Any, device: str) -> Any:
    """Moves an adapter's tensors with newer ComfyUI's `comfy.lora.prefetch_prepared_value`, or does the same."""
    prefetch = getattr(comfy.lora, "prefetch_prepared_value", None)
    if prefetch is not None:
        counter = [0]
        prefetch(value, counter, None, None, False)
        return prefetch(value, [0], torch.empty(counter[0], dtype=torch.uint8, device=device), None, True)
    if isinstance(value, torch.Tensor):
        return value.to(device, copy=True)
    if isinstance(value, comfy.weight_adapter.WeightAdapterBase):
        return type(value)(value.loaded_keys, moved(value.weights, device))
    return tuple(moved(each, device) for each in value) if isinstance(value, tuple) else value


def exact(shape: tuple[int, ...], weight: torch.Tensor) -> torch.Tensor:
    total = weight.double()
    for entry in entries(shape):
        (value,) = entry.patches.values()
        up, down = (factor.double().flatten(1) for factor in value.weights[:2])
        total = total + STRENGTH * ALPHA / RANK * (up @ down).reshape(shape)
    return total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_nearer_to_the_exact_sum_than_a_chain_of_core_s_loaders(name: str, dtype: torch.dtype) -> None:
    shape = SHAPES[name]
    weight, wanted = weight_of(shape, dtype), exact(shape, weight_of(shape, dtype))
    stacked = stack_patches(entries(shape))["layer.weight"]
    ours = at_forward([stacked], weight)
    chain = weight
    for entry in entries(shape):
        (value,) = entry.patches.values()
        rows = [(STRENGTH, value, 1.0, None, None)]
        chain = comfy.lora.calculate_weight(rows, chain.clone(), "layer.weight", intermediate_dtype=dtype)
    assert (ours.dtype, ours.shape) == (dtype, weight.shape)
    error, theirs = ((each.double() - wanted).pow(2).mean().sqrt() for each in (ours, chain))
    assert error <= max(theirs, 2e-7)  # fp32's own rounding


@pytest.mark.parametrize("most", [0, 50_000, 1 << 30])
def test_every_forward_gives_the_same_weight_and_what_is_kept_has_a_bound(most: int) -> None:
    kept.set_limit(most)
    shape = SHAPES["linear"]
    weight = weight_of(shape, torch.bfloat16)
    adapters = [stack_patches(entries(shape))["layer.weight"] for _ in range(3)]
    first = at_forward([adapters[0]], weight)
    for _ in range(4):
        for adapter in adapters:
            assert torch.equal(at_forward([adapter], weight), first)
        assert sum(adapter.kept_bytes for adapter in adapters) <= most
    assert (adapters[0].kept_bytes > 0) == (most > 100_000)


def test_what_is_patched_once_keeps_nothing() -> None:
    adapter = stack_patches(entries(SHAPES["linear"]))["layer.weight"]
    at_forward([adapter], weight_of(SHAPES["linear"], torch.float32))
    assert adapter.kept_bytes == 0


def test_another_strength_is_not_taken_from_what_is_kept() -> None:
    shape = SHAPES["linear"]
    weight = weight_of(shape, torch.float32)
    adapter = stack_patches(entries(shape))["layer.weight"]
    for _ in range(3):
        whole = at_forward([adapter], weight)
    half = comfy.lora.calculate_weight([(0.5, adapter, 1.0, None, None)], weight.clone(), "layer.weight")
    torch.testing.assert_close(half - weight, (whole - weight) / 2, rtol=1e-4, atol=1e-5)


def tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, tuple):
        return [tensor for each in value for tensor in tensors_in(each)]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_what_comfyui_moves_at_each_forward_is_stacked_once(name: str, dtype: torch.dtype) -> None:
    shape = SHAPES[name]
    weight = weight_of(shape, dtype)
    adapter = stack_patches(entries(shape))["layer.weight"]
    before = at_forward([adapter], weight)
    first, second = moved(adapter, "cpu"), moved(adapter, "cpu")
    factors = [tensor for tensor in tensors_in(adapter.weights) if tensor.dim() == 2]
    assert [tuple(tensor.shape) for tensor in factors] == [
        (shape[0], COUNT * RANK),
        (COUNT * RANK, torch.Size(shape[1:]).numel()),
    ]
    assert {tensor.dtype for tensor in factors} == {torch.float16}  # as in the files, so no memory is wasted
    for rebuilt in (first, second):
        assert torch.equal(at_forward([rebuilt], weight), before)
    assert torch.equal(at_forward([adapter], weight), before)


def test_without_room_for_copies_the_factors_stay_where_they_are() -> None:
    kept.set_limit(0)
    shape = SHAPES["linear"]
    adapter = stack_patches(entries(shape))["layer.weight"]
    wanted = at_forward([stack_patches(entries(shape))["layer.weight"]], weight_of(shape, torch.bfloat16))
    assert len(tensors_in(adapter.weights)) == 2 * COUNT
    kept.set_limit(1 << 30)  # a buffer of the first size exists by now
    assert len(tensors_in(adapter.weights)) == 2 * COUNT
    assert torch.equal(at_forward([moved(adapter, "cpu")], weight_of(shape, torch.bfloat16)), wanted)


def test_one_lora_alone_is_moved_as_it_is() -> None:
    only = entries(SHAPES["linear"])[:1]
    adapter = stack_patches(only)["layer.weight"]
    (value,) = only[0].patches.values()
    assert [tensor.data_ptr() for tensor in tensors_in(adapter.weights)] == [
        factor.data_ptr() for factor in value.weights[:2]
    ]
