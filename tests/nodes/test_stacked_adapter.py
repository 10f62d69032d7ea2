"""The sum of several deltas on one weight: exact, and independent of their order."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any
from weakref import finalize

import comfy.lora
import pytest
import torch
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches
from air_lora_pack.nodes.patching.stacked_adapter import peak_extra_bytes
from comfy.model_management import OOM_EXCEPTION
from comfy.weight_adapter import adapters
from torch.utils._python_dispatch import TorchDispatchMode

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


def boft(out: int, _width: int, seed: int) -> Any:
    blocks = randn(2, out // 4, 4, 4, seed=seed)
    return ADAPTERS["boft"](set(), (blocks - blocks.transpose(2, 3), None, 0.0, None))


def glora(out: int, width: int, seed: int) -> Any:
    shapes = [(width, 4), (4, width), (out, 4), (4, width)]
    factors = [randn(*shape, seed=seed + n, std=0.2) for n, shape in enumerate(shapes)]
    return ADAPTERS["glora"](set(), (*factors, 2.0, None))


def diff(out: int, width: int, seed: int) -> Any:
    return ("diff", (randn(out, width, seed=seed),))


KINDS = {
    "lora": lora,
    "dora": lambda out, width, seed: lora(out, width, seed, dora=True),
    "loha": loha,
    "lokr": lokr,
    "oft": oft,
    "boft": boft,
    "glora": glora,
    "diff": diff,
}


def tucker(out: int, width: int, seed: int, *, dora: bool = False) -> Any:
    up, down = randn(out, 4, 1, 1, seed=seed), randn(4, width, 1, 1, seed=seed + 1)
    mid = randn(4, 4, 3, 3, seed=seed + 2, std=0.5)
    scale = randn(out, 1, 1, 1, seed=seed + 3).abs() + 0.5 if dora else None
    return ADAPTERS["lora"](set(), (up, down, 2.0, mid, scale, None))


def conv_lora(out: int, width: int, seed: int) -> Any:
    up, down = randn(out, 4, 1, 1, seed=seed), randn(4, width, 3, 3, seed=seed + 1)
    return ADAPTERS["lora"](set(), (up, down, 2.0, None, None, None))


def conv_loha(out: int, width: int, seed: int) -> Any:
    shapes = [(3, out), (3, width), (3, out), (3, width), (3, 3, 3, 3), (3, 3, 3, 3)]
    a1, b1, a2, b2, t1, t2 = (randn(*shape, seed=seed + n, std=0.3) for n, shape in enumerate(shapes))
    return ADAPTERS["loha"](set(), (a1, b1, 2.0, a2, b2, t1, t2, None))


def conv_lokr(out: int, width: int, seed: int) -> Any:
    w1, w2 = randn(4, 4, seed=seed), randn(out // 4, width // 4, 3, 3, seed=seed + 1)
    return ADAPTERS["lokr"](set(), (w1, w2, 1.0, None, None, None, None, None, None))


CONVOLUTION_KINDS = {
    "lora": conv_lora,
    "mid": tucker,
    "dora with mid": lambda out, width, seed: tucker(out, width, seed, dora=True),
    "loha with cores": conv_loha,
    "lokr": conv_lokr,
    "oft": oft,
    "boft": boft,
    "diff": lambda out, width, seed: ("diff", (randn(out, width, 3, 3, seed=seed),)),
}


def digest(weight: torch.Tensor) -> str:
    return hashlib.sha256(weight.contiguous().numpy().tobytes()).hexdigest()


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
    """The result of chained LoraLoader nodes."""
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
    assert not torch.equal(ours(weight, entries), weight)


@pytest.mark.parametrize("kind", [kind for kind in CONVOLUTION_KINDS if kind != "lora"])
def test_one_entry_on_a_convolution_is_what_comfyui_makes_of_it_to_the_bit(kind: str) -> None:
    weight = randn(32, 16, 3, 3, seed=0, std=1.0)
    entries = [entry(CONVOLUTION_KINDS[kind](32, 16, 5), 0.7, "a")]
    assert torch.equal(ours(weight, entries), core_chain(weight, entries))
    assert not torch.equal(ours(weight, entries), weight)


def test_one_difference_of_a_bias_is_what_comfyui_makes_of_it_to_the_bit() -> None:
    bias = randn(32, seed=0, std=1.0)
    entries = [entry(("diff", (randn(32, seed=n),)), 0.7, str(n)) for n in range(4)]
    assert torch.equal(ours(bias, entries[:1]), core_chain(bias, entries[:1]))
    results = {digest(ours(bias, order)) for order in itertools.permutations(entries)}
    assert len(results) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_plain_lora_is_comfyui_s_within_one_rounding_of_the_weight_s_dtype(dtype: torch.dtype) -> None:
    weight = randn(64, 96, seed=0, std=0.05).to(dtype).float()
    entries = [entry(lora(64, 96, 5), 0.7, "a")]
    mine, core = ours(weight, entries).to(dtype).float(), core_chain(weight, entries).to(dtype).float()
    assert ((mine - core).abs() <= torch.finfo(dtype).eps * core.abs()).all()


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [((32, 64), KINDS), ((32, 16, 3, 3), CONVOLUTION_KINDS)],
    ids=["linear", "convolution"],
)
def test_every_order_of_any_four_kinds_gives_one_hash(shape: tuple[int, ...], kinds: Any) -> None:
    weight = randn(*shape, seed=0, std=1.0)
    entries = [
        entry(make(*shape[:2], 7 * number + 1), 0.3 + number / 10, kind)
        for number, (kind, make) in enumerate(kinds.items())
    ]
    for four in itertools.combinations(entries, 4):
        hashes = {digest(ours(weight, order)) for order in itertools.permutations(four)}
        assert len(hashes) == 1, [item.name for item in four]
    assert not torch.equal(core_chain(weight, entries), core_chain(weight, entries[::-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_order_of_four_of_one_kind_gives_one_hash(kind: str) -> None:
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(KINDS[kind](32, 64, 9 * number), 0.3 + number / 10, str(number)) for number in range(4)]
    assert len({digest(ours(weight, order)) for order in itertools.permutations(entries)}) == 1


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
    """In FLUX, linear1 contains q, k, v, and the MLP's first layer, stacked along its rows."""
    weight = randn(96, 32, seed=0, std=1.0)
    qkv = Target(KEY, (0, 0, 48))
    entries = [
        entry(lora(48, 32, 1), 0.5, "qkv", qkv),
        entry(lora(96, 32, 9), 0.5, "whole"),
        entry(lora(48, 32, 17, dora=True), 0.5, "dora", qkv),
    ]
    results = [ours(weight, order) for order in itertools.permutations(entries)]
    assert all(torch.equal(results[0], result) for result in results)
    alone = sum(core_chain(weight, [item]).double() - weight.double() for item in entries)
    assert torch.allclose(results[0].double(), weight.double() + alone, atol=1e-5)
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
    """Traverses an adapter's weights as newer ComfyUI does when it moves them to a device."""
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
    """Model merging multiplies the strengths of the patches that it copies."""
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(lora(32, 64, n * 5), 0.6, str(n)) for n in range(2)]
    half = comfy.lora.calculate_weight(
        [(0.5, stack_patches(entries)[KEY], 1.0, None, None)], weight.clone(), KEY
    )
    expected = [entry(item.patches[Target(KEY)], 0.3, item.name) for item in entries]
    assert torch.allclose(half, ours(weight, expected), atol=1e-6)


def test_strength_zero_leaves_no_patch() -> None:
    assert stack_patches([entry(lora(8, 8, 1), 0.0, "a")]) == {}


def refused(*entries: WeightedPatches) -> str:
    """The error's message, which is the same in either order of the two."""
    texts = set()
    for order in itertools.permutations(entries):
        with pytest.raises(Mismatch) as raised:
            stack_patches(order)
        assert raised.value.code == "conflictingReplacement"
        texts.add(str(raised.value))
    (text,) = texts
    return text


@pytest.mark.parametrize("second", ["set", "lora", "dora", "diff"])
def test_a_replacement_beside_any_other_change_is_an_error_that_names_both(second: str) -> None:
    value = ("set", (randn(32, 64, seed=1),)) if second == "set" else KINDS[second](32, 64, 5)
    text = refused(entry(("set", (randn(32, 64, seed=0),)), 1.0, "Anna"), entry(value, 1.0, "Berta"))
    assert "Anna" in text
    assert "Berta" in text
    assert KEY in text


def test_a_replacement_of_a_slice_clashes_with_what_overlaps_it_alone() -> None:
    weight, new = randn(96, 32, seed=0, std=1.0), randn(32, 32, seed=1)
    replaced = entry(("set", (new,)), 1.0, "Anna", Target(KEY, (0, 0, 32)))
    text = refused(replaced, entry(lora(96, 32, 5), 1.0, "Berta"))
    assert "Anna" in text
    assert "Berta" in text
    beside = entry(lora(64, 32, 5), 1.0, "Berta", Target(KEY, (0, 32, 64)))
    result = ours(weight, [beside, replaced])
    assert torch.equal(result[:32], new)
    assert torch.allclose(result, core_chain(weight, [replaced, beside]), atol=1e-6)


def test_one_replacement_alone_is_taken_as_it_is() -> None:
    weight, new = randn(8, 8, seed=0), randn(8, 8, seed=1)
    assert torch.equal(ours(weight, [entry(("set", (new,)), 1.0, "a")]), new)


def widening(out: int, width: int, seed: int) -> Any:
    """Like BFL's control LoRAs: the weight is first padded with zeros to `reshape_weight`."""
    plain = lora(out, width, seed)
    return ADAPTERS["lora"](set(), (*plain.weights[:5], [out, width]))


def test_a_lora_that_widens_a_weight_alone_is_what_comfyui_makes_of_it_to_the_bit() -> None:
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(widening(32, 96, 5), 0.7, "a")]
    assert ours(weight, entries).shape == (32, 96)
    assert torch.equal(ours(weight, entries), core_chain(weight, entries))


@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_that_widens_a_weight_beside_others_that_do_not(kind: str) -> None:
    """ComfyUI's chain supports only one order, in which the weight is widened last."""
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [
        entry(KINDS[kind](32, 64, 11), 0.5, "a"),
        entry(widening(32, 96, 5), 0.7, "b"),
        entry(widening(32, 96, 15), 0.2, "c"),
        entry(lora(32, 64, 25), 0.4, "d"),
    ]
    results = [ours(weight, order) for order in itertools.permutations(entries)]
    assert len(set(map(digest, results))) == 1
    expected = torch.nn.functional.pad(weight, (0, 32)).double()
    for item in entries:
        alone = core_chain(weight, [item]).double()
        start = torch.nn.functional.pad(weight, (0, alone.shape[1] - 64)).double()
        expected[:, : alone.shape[1]] += alone - start
    assert torch.allclose(results[0].double(), expected, atol=1e-5)


def test_a_weight_that_a_loader_before_has_widened_takes_a_lora_of_its_own_size() -> None:
    widened = core_chain(randn(32, 64, seed=0, std=1.0), [entry(widening(32, 96, 5), 0.7, "a")])
    plain = entry(lora(32, 64, 25), 0.4, "b")
    result = ours(widened, [plain])
    assert torch.equal(result[:, 64:], widened[:, 64:])
    assert torch.allclose(result[:, :64], core_chain(widened[:, :64].clone(), [plain]), atol=1e-6)


def test_low_vram_mode_widens_a_weight_too() -> None:
    weight = randn(32, 64, seed=0, std=1.0).half()
    entries = [entry(widening(32, 96, 5), 0.7, "a")]
    low = ours(weight, entries, intermediate_dtype=torch.float16)
    assert low.dtype == torch.float16
    assert torch.equal(low, ours(weight.float(), entries).half())


def test_two_loras_that_widen_a_weight_to_different_shapes_are_an_error_that_names_both() -> None:
    text = refused(entry(widening(32, 96, 5), 1.0, "Anna"), entry(widening(32, 128, 5), 1.0, "Berta"))
    for part in ("Anna", "Berta", "32×96", "32×128", KEY):
        assert part in text


def test_a_difference_of_a_one_by_one_convolution_may_come_as_a_matrix() -> None:
    """ComfyUI compares the shapes, reports that they differ, and leaves the weight unchanged."""
    weight = randn(16, 8, 1, 1, seed=0, std=1.0)
    difference = randn(16, 8, seed=1)
    result = ours(weight, [entry(("diff", (difference,)), 0.5, "a")])
    assert torch.allclose(result.flatten(1), weight.flatten(1) + 0.5 * difference)
    assert torch.equal(ours(weight, [entry(("set", (difference,)), 1.0, "a")]).flatten(1), difference)


def test_boft_without_an_alpha_has_no_constraint_as_oft_has_none() -> None:
    """ComfyUI 0.3.75 compares its alpha with 0, logs that None has no size, and leaves the weight unchanged."""
    weight = randn(32, 64, seed=0, std=1.0)
    value = boft(32, 64, 5)
    without = ADAPTERS["boft"](set(), (value.weights[0], None, None, None))
    assert torch.equal(ours(weight, [entry(without, 0.7, "a")]), ours(weight, [entry(value, 0.7, "a")]))


@pytest.mark.parametrize(
    "error", [OOM_EXCEPTION("none left"), RuntimeError("DefaultCPUAllocator: not enough")]
)
@pytest.mark.parametrize("kind", ["dora", "loha", "lokr", "oft", "boft", "glora"])
def test_a_lack_of_memory_in_a_formula_of_comfyui_s_is_not_swallowed(
    kind: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI logs it and continues with the unchanged weight, which later runs would keep."""
    weight = randn(32, 64, seed=0, std=1.0)
    entries = [entry(KINDS[kind](32, 64, 5), 0.7, "a")]

    def fails(*_: Any, **__: Any) -> Any:
        raise error

    for name in ("mm", "einsum", "kron"):
        monkeypatch.setattr(torch, name, fails)
    with pytest.raises(type(error)):
        ours(weight, entries)


class _Memory(TorchDispatchMode):
    """The peak memory of tensors created inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self._take(tensor.untyped_storage())
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._known:
            return
        self._known.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        finalize(storage, self._give_back, place, size)

    def _give_back(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


@pytest.mark.parametrize("kinds", [("lora",), ("lora", "lora"), ("loha",), ("lora", "lokr")], ids="+".join)
def test_the_memory_that_is_told_is_what_patching_takes(kinds: tuple[str, ...]) -> None:
    """Not less, because a machine with little memory would fail, and not twice as much."""
    made = {"lora": lora, "loha": loha, "lokr": lokr}
    size = 512
    entries = [
        WeightedPatches(f"lora[{n}]", kind, str(n), 0.5, {Target(KEY, None, None): made[kind](size, size, n)})
        for n, kind in enumerate(kinds)
    ]
    adapter = stack_patches(entries)[KEY]
    told = peak_extra_bytes({KEY: adapter}, {KEY: (size, size)})
    arrived = randn(size, size, seed=9)
    with _Memory() as memory:
        weight = arrived.clone()  # the copy that ComfyUI passes
        adapter.calculate_weight(weight, KEY, 1.0, 1.0, None, None)
    assert memory.most <= told * 1.15
    assert told <= memory.most * 1.9
