"""The kinds of adapters: which are plain low rank, how large a delta is, whether it widens or replaces its weight.

A low-rank delta is one product, which stacked_adapter.py computes. All other kinds (LoHa, LoKr, DoRA, OFT, BOFT, GLoRA,
Tucker cores, whole differences) use ComfyUI's own formulas. To add a kind, add its shape to `_SHAPES` and the position
of its magnitudes to `MAGNITUDES`. If it is also low rank, add a branch to `as_low_rank`.
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
"""Kind → ComfyUI's class."""

MAGNITUDES = {"lora": 4, "loha": 7, "lokr": 8, "oft": 3, "boft": 3, "glora": 5}
"""Kind → position of the magnitudes (DoRA) among an adapter's weights."""


def grown_shape(kind: str, weights: Sequence[Any]) -> list[int] | None:
    """The shape that an adapter pads the weight to before it is added (BFL's control LoRAs); None for most adapters."""
    return weights[5] if kind == "lora" else None


def widened_to(value: Any) -> list[int] | None:
    """The shape that a patch, in the form of ComfyUI's loader, pads the weight to; see `grown_shape`."""
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
    """Applies this entry alone to the weight, in place.

    `value` is an adapter's `name` and `weights`, or ("diff" | "set", (tensor,)). Raises torch's errors if memory runs
    out, or if a difference has another size. ComfyUI's adapters log any other error and leave the weight unchanged.
    """
    kind, weights = value
    function = function or _unchanged
    if kind == "set":
        return weight.copy_(weights[0].reshape(weight.shape))
    if kind == "diff":
        # The difference of a 1×1 convolution may be stored as a matrix.
        difference = weights[0].reshape(weight.shape)
        return weight.add_(function(strength * cast_to_device(difference, weight.device, weight.dtype)))
    if kind == "lokr" and weights[7] is not None:
        weights = _without_core(weights, weight.device, dtype)
    if kind == "boft" and weights[2] is None:
        weights = (
            *weights[:2],
            0.0,
            *weights[3:],
        )  # as for OFT: no alpha means no constraint, but ComfyUI fails without an alpha
    adapter = ADAPTERS[kind](set(), weights)
    with _out_of_memory_raised():
        return adapter.calculate_weight(weight, key, strength, 1.0, None, function, dtype, original_weight)


class _NoteOutOfMemory(logging.Filter):
    """Stores the out-of-memory error that this thread handles while it writes a log record."""

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
    """Raises out-of-memory errors that ComfyUI's adapters only log.

    The adapters log every error and return the weight unchanged. This is right for a wrong shape. But if memory runs
    out, the model would stay partly patched, and no later run would fix it.
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
    # torch has no separate error class for a CPU that is out of memory.
    return isinstance(error, (OOM_EXCEPTION, MemoryError)) or "DefaultCPUAllocator" in str(error)


def _without_core(weights: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    """Turns a LoKr with a Tucker core into one whose second factor is whole.

    With a core, ComfyUI 0.3.75 calls torch.kron with an unsupported argument, logs the error, and leaves the weight
    unchanged (ComfyUI issue 11245). Flattened to two dimensions, the Kronecker product has the same numbers in the same
    order.
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
    """The delta's shape, (out, in, *kernel), or (out,) for kinds that allow any number of inputs; None if unknown.

    The delta of a convolution may be flattened, (out, in·kernel): compare element counts and the first size.
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
        return (up.shape[0], 0)  # no delta is possible if the ranks differ
    return (up.shape[0], prod(down.shape[1:]))


def _loha(weights: Sequence[Any]) -> Shape:
    w1_a, w1_b, _alpha, w2_a, w2_b, t1, t2, _dora_scale = weights
    if t1 is not None:
        first, second = (
            (a.shape[1], b.shape[1], *t.shape[2:]) for a, b, t in ((w1_a, w1_b, t1), (w2_a, w2_b, t2))
        )
    else:
        first, second = ((a.shape[0], prod(b.shape[1:])) for a, b in ((w1_a, w1_b), (w2_a, w2_b)))
    return first if first == second else (first[0], 0)  # no product is possible if the sizes differ


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
    """If the weight is square, both forms fit. ComfyUI then assumes the old form if a2 has more rows than columns."""
    a1, a2, b1, b2, _alpha, _dora_scale = weights
    is_new = b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0]
    is_old = b2.shape[1] == b1.shape[0] == a1.shape[0] == a2.shape[1]
    if is_old and (not is_new or a2.shape[0] > a2.shape[1]):  # the form that LyCORIS wrote at first
        outputs, inputs, ends = b2.shape[0], prod(b1.shape[1:]), (a2.shape[0], a1.shape[1])
    elif is_new:
        outputs, inputs, ends = b1.shape[0], prod(b2.shape[1:]), (a1.shape[0], a2.shape[1])
    else:
        return (b1.shape[0], 0)
    # The other pair maps the weight's inputs (for a convolution, its channels) to the weight's inputs.
    return (outputs, inputs) if ends[0] == ends[1] else (outputs, 0)


def _oft(weights: Sequence[Any]) -> Shape:
    """From (blocks, size, size), or BOFT's (stages, blocks, size, size): rotates outputs, for any number of inputs."""
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
    """strength · up @ down. The strength includes alpha/rank."""

    up: torch.Tensor  # (out, rank), or a convolution's factor, flattened from dimension 1
    down: torch.Tensor  # (rank, in[, *kernel])
    strength: float | torch.Tensor  # (rank,) in fp32 if several LoRAs are stacked


def as_low_rank(value: Any, strength: float) -> LowRank | None:
    """The factors of a plain LoRA, without mid, DoRA scale, or reshape; None for everything else."""
    if getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, mid, dora_scale, reshape = value.weights
    if mid is not None or dora_scale is not None or reshape is not None or up.dim() < 2 or down.dim() < 2:
        return None
    scale = alpha / down.shape[0] if alpha is not None else 1.0
    return LowRank(up, down, strength * scale)


def replaces(value: Any) -> bool:
    """Whether the patch replaces the weight instead of adding to it."""
    return isinstance(value, tuple) and value[0] == "set"
