"""How large the delta of an adapter is, from its factors' shapes alone."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

Shape = tuple[int, ...]


def delta_shape(value: Any) -> Shape | None:
    """(out, in, *kernel) of the delta, or (out,) of a kind for any number of inputs; None where it is not known here.

    The delta of a convolution may come flattened, (out, in·kernel): compare element counts and the first size.
    """
    if isinstance(value, tuple):
        return tuple(value[1][0].shape)
    measure = _SHAPES.get(value.name)
    return measure(value.weights) if measure else None


def part_shape(shape: Sequence[int], offset: tuple[int, int, int] | None) -> Shape:
    """The shape of a part of a weight, (dimension, start, length); None is the whole weight."""
    if offset is None:
        return tuple(shape)
    dimension, _start, length = offset
    return (*shape[:dimension], length, *shape[dimension + 1 :])


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
