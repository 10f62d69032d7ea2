"""One patch for one weight, for any number of LoRAs that change it.

W = W0 + Σ (fᵢ(W0) − W0), where W0 is the original weight and fᵢ(W0) is the weight that entry i alone would produce. For
plain low-rank entries, fᵢ(W0) − W0 = sᵢ·Bᵢ·Aᵢ, so all of them are one matrix product with the factors stacked along the
rank: (out, Σr) @ (Σr, in). The other kinds (LoHa, LoKr, DoRA, OFT, BOFT, GLoRA, full differences) use ComfyUI's
formulas.
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import finalize

import torch
from comfy.weight_adapter.base import WeightAdapterBase, pad_tensor_to_shape

from .bounded_cache import limit
from .kinds import LowRank, apply_other, grown_shape
from .slices import Offset, corner, overlap, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NUMBERS_AT_ONCE = 160 * 1024
"""How many fp32 numbers stay in a core's own cache during the addition. Measured with 128 rows of 1,280."""


class _KeptBytes:
    """Counts the bytes of the stacked factors that adapters keep. They are freed with the patched model."""

    def __init__(self) -> None:
        self.total = 0

    def take(self, adapter: StackedAdapter, count: int) -> bool:
        """Counts these bytes for as long as the adapter exists; returns False if they would exceed the limit.

        Nothing is dropped to make room: adapters that are used in turns would evict one another.
        """
        if self.total + count > limit():
            return False
        self.total += count
        finalize(adapter, self._give_back, count)
        return True

    def _give_back(self, count: int) -> None:
        self.total -= count


_kept = _KeptBytes()


class Other(NamedTuple):
    """An entry of a kind that uses ComfyUI's formula."""

    kind: str  # an adapter's `name`, "diff" or "set"
    weights: tuple[Any, ...]
    strength: float


class Section(NamedTuple):
    """The deltas of one part of a weight."""

    offset: Offset | None  # None for the whole weight
    function: Any  # the function that ComfyUI applies to a delta before it is added, or None
    low_rank: tuple[LowRank, ...]
    others: tuple[Other, ...]


class StackedAdapter(WeightAdapterBase):
    """All deltas of one weight.

    To move an adapter's tensors to another device, newer ComfyUI builds a new adapter at each forward pass,
    `type(a)(a.loaded_keys, moved(a.weights))`, which turns nested tuples into plain tuples. So `weights` contains
    everything, by position, and contains the factors in the form in which they are multiplied: stacked, once.
    """

    name = "air_lora"

    def __init__(self, loaded_keys: set[str], weights: tuple[tuple[Any, ...], ...]) -> None:
        self.loaded_keys = loaded_keys
        self._sections = weights
        self._is_settled = False
        # Only a cache: the adapters that newer ComfyUI builds from `weights` start without it.
        self._stacks: dict[Any, tuple[torch.Tensor, torch.Tensor] | None] = {}

    @property
    def sections(self) -> tuple[tuple[Any, ...], ...]:
        """The deltas, part by part, as `Section` describes them."""
        return self._sections

    @property
    def weights(self) -> tuple[tuple[Any, ...], ...]:
        """The sections, for patching at each forward pass: the LoRAs of one part are stacked into one pair of factors.

        The form is decided on the first access, because ComfyUI measures the size once and later fills a buffer of that
        size. If the copies would exceed the limit, the factors are never stacked.
        """
        if not self._is_settled:
            packed = tuple(
                (offset, function, _packed(low_rank), others)
                for offset, function, low_rank, others in self._sections
            )
            copies = sum(
                _bytes_of(own[0])
                for (_, _, own, _), (_, _, before, _) in zip(packed, self._sections)
                if len(before) > 1
            )
            if not copies or _kept.take(self, copies):
                self._sections = packed
            self._is_settled = True
        return self._sections

    def calculate_shape(self, key: str) -> tuple[int, ...] | None:  # noqa: ARG002  # newer ComfyUI's signature
        """The shape that the weight is padded to, if an entry has one (BFL's control LoRAs); else None."""
        for _offset, _function, _low_rank, others in self._sections:
            for kind, weights, _strength in others:
                shape = grown_shape(kind, weights)
                if shape is not None:
                    return tuple(shape)
        return None

    def calculate_weight(
        self,
        weight: torch.Tensor,
        key: str,
        strength: float,
        strength_model: float,  # noqa: ARG002  # ComfyUI has already multiplied the weight by it
        offset: Any,  # noqa: ARG002  # ours are in the sections
        function: Any,  # noqa: ARG002  # likewise
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: Any = None,
    ) -> torch.Tensor:
        """Returns the patched weight: in place if its shape stays the same, like ComfyUI's own adapters."""
        dtype = _product_dtype(weight, intermediate_dtype)
        if dtype != weight.dtype:
            if weight.device.type == "cpu" and self._is_plain(weight):
                return self._add_by_rows(weight, strength, dtype)
            # Low-VRAM mode passes the weight in its own dtype: sum in the wider dtype, and round once.
            total = self._sum(weight.to(dtype), key, strength, dtype, original_weight)
            return weight.copy_(total) if total.shape == weight.shape else total.to(weight.dtype)
        return self._sum(weight, key, strength, dtype, original_weight)

    def _is_plain(self, weight: torch.Tensor) -> bool:
        """Whether every part of the weight gets one product and nothing else, and no two parts overlap."""
        offsets = [offset for offset, *_ in self._sections]
        return (
            all(
                low_rank and not others and function is None
                for _offset, function, low_rank, others in self._sections
            )
            and (weight.dim() == 2 or (weight.is_contiguous() and offsets == [None]))
            and not any(overlap(first, second) for first, second in combinations(offsets, 2))
        )

    def _add_by_rows(self, weight: torch.Tensor, strength: float, dtype: torch.dtype) -> torch.Tensor:
        """Like `_sum`, but a few rows at a time: a wide copy of the whole weight would pass main memory four times."""
        for number, (offset, _function, low_rank, _others) in enumerate(self._sections):
            up, down = self._stack(number, low_rank, strength, weight.device, dtype)
            part = part_of(weight, offset)
            if part.dim() == 2:
                part = corner(part, (up.shape[0], down.shape[1]))
            rows = part if part.dim() == 2 else part.view(part.shape[0], -1)
            count = max(1, _NUMBERS_AT_ONCE // rows.shape[1])
            wide = torch.empty((min(count, rows.shape[0]), rows.shape[1]), dtype=dtype)
            for start in range(0, rows.shape[0], count):
                narrow = rows[start : start + count]
                total = wide[: narrow.shape[0]].copy_(narrow)
                narrow.copy_(total.addmm_(up[start : start + count], down))
        return weight

    def _stack(
        self, number: int, low_rank: Any, strength: float, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The stacked factors of one section. They are kept from the second call on: it shows a call per forward pass.

        For a GPU, they are kept in main memory, in a narrow dtype and unscaled, because ComfyUI wouldn't know of copies
        in the GPU's memory.
        """
        key = (number, strength, dtype)
        if device.type != "cpu":
            if key in self._stacks:
                low_rank = self.weights[number][2]
            self._stacks[key] = None
            return _stack_factors(low_rank, strength, device, dtype)
        kept = self._stacks.get(key)
        if kept is not None:
            return kept
        stacked = _stack_factors(low_rank, strength, device, dtype)
        if key not in self._stacks:
            self._stacks[key] = None  # might be the only call
        elif _kept.take(self, _bytes_of(stacked)):
            self._stacks[key] = stacked
        return stacked

    @property
    def kept_bytes(self) -> int:
        """Bytes of the stacked factors that this adapter keeps."""
        return sum(_bytes_of(stacked) for stacked in self._stacks.values() if stacked is not None)

    def _sum(
        self, weight: torch.Tensor, key: str, strength: float, dtype: torch.dtype, original_weight: Any
    ) -> torch.Tensor:
        own_shape, shape = weight.shape, self.calculate_shape(key)
        if shape is not None:
            weight = pad_tensor_to_shape(weight, shape)
        arrived = weight.clone() if any(others for *_, others in self._sections) else weight
        summed: list[Any] = []  # the offsets of the parts that are already changed
        for number, (offset, function, low_rank, others) in enumerate(self._sections):
            for kind, values, own_strength in others:
                # If another entry widens the weight, an entry that doesn't changes only the original part.
                widens = shape is None or grown_shape(kind, values) is not None
                part, start = (
                    each if widens else corner(each, own_shape)
                    for each in (part_of(weight, offset), part_of(arrived, offset))
                )
                alone = apply_other(
                    (kind, values),
                    start.clone(),
                    key,
                    own_strength * strength,
                    function,
                    dtype,
                    original_weight,
                )
                # The first result is copied, so that a single entry gives ComfyUI's result to the bit.
                if any(overlap(offset, before) for before in summed):
                    part.add_(alone.sub_(start))
                else:
                    part.copy_(alone)
                summed.append(offset)
            if low_rank:
                stacked = self._stack(number, low_rank, strength, weight.device, dtype)
                _add_low_rank(part_of(weight, offset), stacked, function)
                summed.append(offset)
        return weight


def _bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _product_dtype(weight: torch.Tensor, intermediate_dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: fp16 and bf16 products on a CPU are about 60 times slower than fp32, and less exact."""
    if weight.device.type == "cpu" and intermediate_dtype in (torch.float16, torch.bfloat16):
        return torch.float32
    return intermediate_dtype


def _add_low_rank(weight: torch.Tensor, stacked: tuple[torch.Tensor, torch.Tensor], function: Any) -> None:
    """weight += Σ sᵢ·Bᵢ·Aᵢ as one product, in place."""
    up, down = stacked
    if weight.dim() == 2:  # another LoRA, of this stack or of an earlier loader, may have widened it
        weight = corner(weight, (up.shape[0], down.shape[1]))
    if function is None and (weight.dim() == 2 or weight.is_contiguous()):
        rows = weight if weight.dim() == 2 else weight.view(weight.shape[0], -1)
        rows.addmm_(up, down)  # (out, in) += (out, Σr) @ (Σr, in)
        return
    delta = (up @ down).reshape(weight.shape)
    weight += delta if function is None else function(delta)


def _stack_factors(
    entries: Sequence[Any], strength: float, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ sᵢ·Bᵢ·Aᵢ as a pair of matrices, (out, Σr) and (Σr, in), with the strengths multiplied into the smaller one."""
    up, down, own_strength = _stacked(entries, device, dtype)
    scale = own_strength.to(device) * strength
    if up.shape[0] <= down.shape[1]:
        return _scaled(up, scale, entries[0][0]), down
    return up, _scaled(down, scale[:, None], entries[0][1])


def _scaled(factor: torch.Tensor, scale: torch.Tensor, file_s: torch.Tensor) -> torch.Tensor:
    """The factor times `scale`, in place if it is a copy of the file's factor.

    Multiplies in fp32, because fp16 and bf16 have too few digits for a strength.
    """
    if factor.dtype == scale.dtype and factor.data_ptr() != file_s.data_ptr():
        return factor.mul_(scale)
    return (factor * scale).to(factor.dtype)


def _packed(entries: Sequence[Any]) -> tuple[Any, ...]:
    """Combines several low-rank entries into one, in the narrowest dtype that holds all their numbers."""
    if len(entries) < 2:
        return tuple(entries)
    dtype = reduce(torch.promote_types, (factor.dtype for entry in entries for factor in entry[:2]))
    return (LowRank(*_stacked(entries, entries[0][0].device, dtype)),)


def _stacked(
    entries: Sequence[Any], device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns (out, Σr), (Σr, in), and the strength of each rank, (Σr,) in fp32."""
    if len(entries) == 1:
        up, down, strength = entries[0]
        moved = tuple(factor.flatten(1).to(device=device, dtype=dtype) for factor in (up, down))
        return *moved, _strength_of_ranks(strength, down.shape[0])
    ranks = [down.shape[0] for _up, down, _strength in entries]
    up = torch.empty((entries[0][0].shape[0], sum(ranks)), device=device, dtype=dtype)
    down = torch.empty((sum(ranks), entries[0][1][0].numel()), device=device, dtype=dtype)
    start = 0
    for (entry_up, entry_down, _strength), rank in zip(entries, ranks):
        up[:, start : start + rank].copy_(entry_up.flatten(1))
        down[start : start + rank].copy_(entry_down.flatten(1))
        start += rank
    strengths = [_strength_of_ranks(strength, rank) for (*_, strength), rank in zip(entries, ranks)]
    return up, down, torch.cat(strengths)


def _strength_of_ranks(strength: float | torch.Tensor, rank: int) -> torch.Tensor:
    if isinstance(strength, torch.Tensor):
        return strength
    return torch.full((rank,), strength, dtype=torch.float32)


_PRODUCT_BYTES = 4  # the sum is computed in fp32


def peak_extra_bytes(patches: Mapping[str, StackedAdapter], shapes: Mapping[str, Sequence[int]]) -> int:
    """Temporary bytes for the most costly weight, because ComfyUI patches one weight at a time; 0 without patches.

    Counts the fp32 copy that ComfyUI passes, and the stacked factors. For kinds with their own formula, also counts the
    original weight, a working copy, and the delta with its intermediate results: LoHa multiplies two full matrices.
    """
    return max((_bytes_for(adapter, prod(shapes[key])) for key, adapter in patches.items()), default=0)


def _bytes_for(adapter: Any, elements: int) -> int:
    count = elements
    for _offset, function, low_rank, others in adapter.sections:
        factors = sum(up.numel() + down.numel() for up, down, _strength in low_rank)
        count += factors + (elements if low_rank and function is not None else 0)
        if others:
            count += 6 * elements
    return count * _PRODUCT_BYTES
