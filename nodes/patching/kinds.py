"""Adapters whose formula is ComfyUI's own: LoHa, LoKr, DoRA, OFT, BOFT, GLoRA, Tucker cores, whole differences."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from comfy.model_management import OOM_EXCEPTION, cast_to_device
from comfy.weight_adapter import adapters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ADAPTERS = {adapter.name: adapter for adapter in adapters}


def grown_shape(kind: str, weights: Sequence[Any]) -> list[int] | None:
    """The shape to which an adapter pads the weight first, None for nearly all."""
    return weights[5] if kind == "lora" else None


def apply_other(
    value: tuple[str, tuple[Any, ...]],
    weight: torch.Tensor,
    key: str,
    strength: float,
    function: Any,
    dtype: torch.dtype,
    original_weight: Any,
) -> torch.Tensor:
    """What this entry alone makes of the weight, which is overwritten.

    `value` is an adapter's `name` and `weights`, or ("diff" | "set", (tensor,)). Raises what torch does for a lack of
    memory, and for a difference of another size; ComfyUI's adapters log any other error and leave the weight.
    """
    kind, weights = value
    function = function or _unchanged
    if kind == "set":
        return weight.copy_(weights[0].reshape(weight.shape))
    if kind == "diff":
        # Of a 1×1 convolution it may come as a matrix.
        difference = weights[0].reshape(weight.shape)
        return weight.add_(function(strength * cast_to_device(difference, weight.device, weight.dtype)))
    if kind == "lokr" and weights[7] is not None:
        weights = _without_core(weights, weight.device, dtype)
    if kind == "boft" and weights[2] is None:
        weights = (
            *weights[:2],
            0.0,
            *weights[3:],
        )  # as OFT: no alpha is no constraint, where core stumbles over it
    adapter = _ADAPTERS[kind](set(), weights)
    with _out_of_memory_raised():
        return adapter.calculate_weight(weight, key, strength, 1.0, None, function, dtype, original_weight)


class _NoteOutOfMemory(logging.Filter):
    """Of records that this thread writes while it handles an error: keeps the error where memory was short."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self.error: BaseException | None = None

    def filter(self, _record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        if threading.get_ident() == self._thread and error is not None and _is_out_of_memory(error):
            self.error = error
        return True


@contextmanager
def _out_of_memory_raised() -> Iterator[None]:
    """ComfyUI's adapters log every error and return the weight as it was, which no later run would mend.

    That is right where a shape is wrong. Where memory was short the weights must not stay half patched: it is raised.
    """
    note, root = _NoteOutOfMemory(), logging.getLogger()
    root.addFilter(note)
    try:
        yield
    finally:
        root.removeFilter(note)
    if note.error is not None:
        raise note.error


def _is_out_of_memory(error: BaseException) -> bool:
    # torch has no class of its own for a CPU that has none left.
    return isinstance(error, (OOM_EXCEPTION, MemoryError)) or "DefaultCPUAllocator" in str(error)


def _without_core(weights: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    """A LoKr whose second factor is whole, in place of one with a Tucker core.

    ComfyUI 0.3.75 hands torch.kron what it cannot take there, logs that and leaves the weight as it is (its issue
    11245). Flattened to two dimensions the Kronecker product has the same numbers in the same order.
    """
    w1, _w2, alpha, w1_a, w1_b, w2_a, w2_b, core, dora_scale = weights
    a, b, t = (cast_to_device(factor, device, dtype) for factor in (w2_a, w2_b, core))
    w2 = torch.einsum("i j ..., i p, j r -> p r ...", t, a, b).flatten(1)  # (p, r·kernel)
    if alpha is not None:
        w2 *= alpha / w2_b.shape[0]
    return (w1, w2, None, w1_a, w1_b, None, None, None, dora_scale)


def _unchanged(delta: torch.Tensor) -> torch.Tensor:
    return delta
