"""The kinds of adapters: which are plain low rank, how large a delta is, whether it widens or replaces its weight.

Low rank is one product, made in stacked_adapter.py. The formulas of all others (LoHa, LoKr, DoRA, OFT, BOFT, GLoRA,
Tucker cores, whole differences) are ComfyUI's own. A new kind has its shape in `_SHAPES`,
the place of its magnitudes in `MAGNITUDES`, and a branch in `as_low_rank` where it is low rank too.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from comfy.model_management import OOM_EXCEPTION, cast_to_device
from comfy.weight_adapter import adapters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .slices import Shape

ADAPTERS = {adapter.name: adapter for adapter in adapters}
"""Kind → ComfyUI's class for it."""

MAGNITUDES = {"lora": 4, "loha": 7, "lokr": 8, "oft": 3, "boft": 3, "glora": 5}
"""Kind → where an adapter's magnitudes (DoRA) stand among its weights."""


def grown_shape(kind: str, weights: Sequence[Any]) -> list[int] | None:
    """The shape to which an adapter pads the weight first (BFL's control LoRAs); None for nearly all."""
    return weights[5] if kind == "lora" else None


def widened_to(value: Any) -> list[int] | None:
    """The same of a patch as ComfyUI's loader has it."""
    return None if isinstance(value, tuple) else grown_shape(value.name, value.weights)


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
    adapter = ADAPTERS[kind](set(), weights)
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


def delta_shape(value: Any) -> Shape | None:
    """(out, in, *kernel) of the delta, or (out,) of a kind for any number of inputs; None where it is not known here.

    The delta of a convolution may come flattened, (out, in·kernel): compare element counts and the first size.
    """
    if isinstance(value, tuple):
        return tuple(value[1][0].shape)
    measure = _SHAPES.get(value.name)
    return measure(value.weights) if measure else None


def _lora(weights: Sequence[Any]) -> Shape | None:
    up, down, _alpha, mid, _dora_scale, reshape = weights
    if reshape is not None and up[0].numel() == down.shape[0]:
        return tuple(reshape)
    if mid is not None:
        return (up.shape[0], down.shape[1], *mid.shape[2:])
    if up[0].numel() != down.shape[0]:
        return (up.shape[0], 0)  # ranks that differ make no delta of any size
    return (up.shape[0], prod(down.shape[1:]))


def _loha(weights: Sequence[Any]) -> Shape:
    w1_a, w1_b, _alpha, w2_a, w2_b, t1, t2, _dora_scale = weights
    if t1 is not None:
        first, second = (
            (a.shape[1], b.shape[1], *t.shape[2:]) for a, b, t in ((w1_a, w1_b, t1), (w2_a, w2_b, t2))
        )
    else:
        first, second = ((a.shape[0], prod(b.shape[1:])) for a, b in ((w1_a, w1_b), (w2_a, w2_b)))
    return first if first == second else (first[0], 0)  # two of different sizes have no product


def _lokr(weights: Sequence[Any]) -> Shape:
    w1, w2, _alpha, w1_a, w1_b, w2_a, w2_b, t2, _dora_scale = weights
    first = _factor(w1, w1_a, w1_b, None)
    second = _factor(w2, w2_a, w2_b, t2)
    return (first[0] * second[0], prod(first[1:]) * prod(second[1:]))


def _factor(
    whole: torch.Tensor | None, a: torch.Tensor | None, b: torch.Tensor | None, t: torch.Tensor | None
) -> Shape:
    if whole is not None or a is None or b is None:
        return tuple(whole.shape) if whole is not None else (0, 0)
    if t is not None:
        return (a.shape[1], b.shape[1], *t.shape[2:])
    return (a.shape[0], *b.shape[1:])


def _glora(weights: Sequence[Any]) -> Shape:
    """Of a square weight both forms' sizes agree; ComfyUI takes it for the old one where a2 is taller than wide."""
    a1, a2, b1, b2, _alpha, _dora_scale = weights
    is_new = b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0]
    is_old = b2.shape[1] == b1.shape[0] == a1.shape[0] == a2.shape[1]
    if is_old and (not is_new or a2.shape[0] > a2.shape[1]):  # as LyCORIS wrote it first
        outputs, inputs, ends = b2.shape[0], prod(b1.shape[1:]), (a2.shape[0], a1.shape[1])
    elif is_new:
        outputs, inputs, ends = b1.shape[0], prod(b2.shape[1:]), (a1.shape[0], a2.shape[1])
    else:
        return (b1.shape[0], 0)
    # The other pair goes from the weight's inputs to the weight's inputs, of a convolution from its channels.
    return (outputs, inputs) if ends[0] == ends[1] else (outputs, 0)


def _oft(weights: Sequence[Any]) -> Shape:
    """Of (blocks, size, size), or BOFT's (stages, blocks, size, size): turns outputs, of any number of inputs."""
    *_stages, blocks, size, _size = weights[0].shape
    return (blocks * size,)


_SHAPES: dict[str, Callable[[Sequence[Any]], Shape | None]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "oft": _oft,
    "boft": _oft,
}


class LowRank(NamedTuple):
    """strength · up @ down, with alpha/rank already in the strength."""

    up: torch.Tensor  # (out, rank), or a convolution's factor, flattened from dimension 1
    down: torch.Tensor  # (rank, in[, *kernel])
    strength: float | torch.Tensor  # (rank,) in fp32 where several LoRAs are stacked here


def as_low_rank(value: Any, strength: float) -> LowRank | None:
    """Plain LoRA: two factors, no mid, no DoRA scale, no reshape. Everything else is None."""
    if getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, mid, dora_scale, reshape = value.weights
    if mid is not None or dora_scale is not None or reshape is not None or up.dim() < 2 or down.dim() < 2:
        return None
    scale = alpha / down.shape[0] if alpha is not None else 1.0
    return LowRank(up, down, strength * scale)


def replaces(value: Any) -> bool:
    """Whether it is put in the weight's place, rather than added."""
    return isinstance(value, tuple) and value[0] == "set"
