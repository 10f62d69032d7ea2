"""How much memory patching takes for a moment, beyond the weights themselves."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .stacked_adapter import StackedAdapter

_PRODUCT_BYTES = 4  # the sum is made in fp32


def peak_extra_bytes(patches: Mapping[str, StackedAdapter], shapes: Mapping[str, Sequence[int]]) -> int:
    """Bytes for the most costly weight; ComfyUI patches one after the other. 0 where there is nothing to patch.

    Counted are the fp32 copy that ComfyUI hands over, the stacked factors, and for kinds with a formula of their own
    the weight as it arrived, a copy to work on and the delta.
    """
    return max((_bytes_for(adapter, prod(shapes[key])) for key, adapter in patches.items()), default=0)


def _bytes_for(adapter: Any, elements: int) -> int:
    count = elements
    for _offset, function, low_rank, others in adapter.sections:
        factors = sum(up.numel() + down.numel() for up, down, _strength in low_rank)
        count += factors + (elements if low_rank and function is not None else 0)
        if others:
            count += 3 * elements
    return count * _PRODUCT_BYTES
