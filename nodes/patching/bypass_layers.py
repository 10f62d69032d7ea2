"""What stands beside one layer: factors, and how they are added to what the layer gives.

Entries with two factors are stacked along the rank into one pair of products. A Kronecker product has two of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .slices import Offset

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@dataclass(frozen=True)
class Factors:
    """What one entry adds to one part of a layer: scale · up @ down, before the entry's strength."""

    entry: int
    """Which strength counts for it."""
    offset: Offset | None
    """(dimension, start, length) of a part of the weight, None for the whole."""
    up: torch.Tensor
    """(out, rank)"""
    down: torch.Tensor
    """(rank, in[, *kernel])"""
    scale: float


@dataclass(frozen=True)
class KroneckerFactors:
    """What a LoKr adds to one part of a layer: scale · first ⊗ (up @ down), before the entry's strength."""

    entry: int
    """Which strength counts for it."""
    offset: Offset | None
    """(dimension, start, length) of a part of the weight, None for the whole."""
    first: torch.Tensor
    """(out₁, in₁)"""
    up: torch.Tensor | None
    """(out₂, rank); None where `down` is the whole second factor"""
    down: torch.Tensor
    """(rank or out₂, in₂[, *kernel])"""
    scale: float


@dataclass
class Part:
    """All that is added to one part of a layer, stacked along the rank."""

    offset: Offset | None
    up: torch.Tensor
    """(out, Σr)"""
    down: torch.Tensor
    """(Σr, in[, *kernel])"""
    owners: torch.Tensor
    """(Σr,) the entry of each row"""
    scales: torch.Tensor
    """(Σr,) fp32"""
    _copies: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict
    )
    _scaled: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, factors: Sequence[Factors]) -> Part:
        """Those of one part, in the order in which they come."""
        ranks = torch.tensor([each.down.shape[0] for each in factors])
        return cls(
            factors[0].offset,
            torch.cat([each.up for each in factors], 1) if len(factors) > 1 else factors[0].up,
            torch.cat([each.down for each in factors]) if len(factors) > 1 else factors[0].down,
            torch.tensor([each.entry for each in factors]).repeat_interleave(ranks),
            torch.tensor([each.scale for each in factors], dtype=torch.float32).repeat_interleave(ranks),
        )

    def on(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors there, from the second time on as they are kept."""
        if self.up.device == device and self.up.dtype == dtype == self.down.dtype:
            return self.up, self.down
        key = (device, dtype)
        if key not in self._copies:
            self._copies[key] = self.up.to(device, dtype), self.down.to(device, dtype)
        return self._copies[key]

    def at(
        self, strengths: torch.Tensor, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors there, each column of `up` times what its row of the rank counts; made once for such strengths.

        Rows that count nothing are left out. Multiplied in fp32 and rounded once: bf16 has three digits. A multiplier
        at each forward would be a pass over T·Σr numbers more.
        """
        kept = self._scaled
        if kept is None or kept[0] is not strengths or (kept[1].device, kept[1].dtype) != (device, dtype):
            up, down = self.on(device, dtype)
            counts = strengths[self.owners] * self.scales
            rows = counts.nonzero().flatten()
            if len(rows) < len(counts):
                there = rows.to(device)
                up, down, counts = up.index_select(1, there), down.index_select(0, there), counts[rows]
            kept = self._scaled = strengths, (up.float() * counts.to(device)).to(dtype), down
        return kept[1:]

    def drop_copies(self) -> None:
        """Gives back what `on` and `at` keep."""
        self._copies.clear()
        self._scaled = None

    @property
    def numbers(self) -> int:
        """How many the factors have, those of `at` included."""
        return int(2 * self.up.numel() + self.down.numel())

    def add(self, layer: Any, x: torch.Tensor, y: torch.Tensor, strengths: torch.Tensor) -> None:
        """Adds to y what this part makes of x, which is in the dtype to compute in."""
        up, down = self.at(strengths, y.device, x.dtype)
        if not len(down):
            return
        if hasattr(layer, "kernel_size"):
            _add_convolved(layer, x, y, up, down)
        else:
            _add_projected(x, y, up, down, self.offset)


class KroneckerPart:
    """One LoKr beside its layer: x is cut into in₁ pieces of in₂, and no factor becomes as large as the weight."""

    def __init__(self, factors: KroneckerFactors) -> None:
        self._factors = factors
        self._copies: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor | None, ...]] = {}

    @property
    def numbers(self) -> int:
        """How many the factors have."""
        return sum(each.numel() for each in self._tensors() if each is not None)

    def drop_copies(self) -> None:
        """Gives back the copies that a device or another dtype needs."""
        self._copies.clear()

    def add(self, layer: Any, x: torch.Tensor, y: torch.Tensor, strengths: torch.Tensor) -> None:
        """Adds to y what this part makes of x, which is in the dtype to compute in."""
        strength = float(strengths[self._factors.entry]) * self._factors.scale
        first, up, down = self._on(y.device, x.dtype)
        if first is None or down is None or not strength:
            return
        out_features = first.shape[0] * (down if up is None else up).shape[0]
        in_features = first.shape[1] * down.shape[1]
        convolve = hasattr(layer, "kernel_size")
        channels = 1 if convolve else -1
        x, target = _facing(x, y, self._factors.offset, channels, in_features, out_features)
        if convolve:
            delta = _kronecker_convolved(layer, x, first, up, down)
        else:
            inner = functional.linear(x.reshape(-1, first.shape[1], down.shape[1]), down)  # (T, in₁, rank)
            inner = torch.matmul(first, inner)  # (T, out₁, rank)
            delta = (inner if up is None else functional.linear(inner, up)).reshape(target.shape)
        target.add_(delta, alpha=strength)

    def _tensors(self) -> tuple[torch.Tensor | None, ...]:
        return self._factors.first, self._factors.up, self._factors.down

    def _on(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor | None, ...]:
        key = (device, dtype)
        if key not in self._copies:
            self._copies[key] = tuple(
                None if each is None else each.to(device, dtype) for each in self._tensors()
            )
        return self._copies[key]


class LayerBypass:
    """What is added to one layer's output."""

    def __init__(self, parts: Sequence[Part | KroneckerPart]) -> None:
        self.parts = tuple(parts)

    def add(
        self, layer: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, strengths: torch.Tensor
    ) -> torch.Tensor:
        """y with it, in place where nothing counts on y: x is (…, in), or a picture (batch, in, …)."""
        dtype = torch.float32 if y.device.type == "cpu" and y.dtype == torch.float16 else y.dtype
        if y.requires_grad:
            y = y.clone()
        x = x.to(y.device, dtype)
        for part in self.parts:
            part.add(layer, x, y, strengths)
        return y


def _facing(
    x: torch.Tensor,
    y: torch.Tensor,
    offset: Offset | None,
    dimension: int,
    in_features: int,
    out_features: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What of x a part reads, and what of y it changes. `dimension` is that of their features."""
    if offset is None:  # somebody may have widened the layer since: what is new in it is not the factors'
        return x.narrow(dimension, 0, in_features), y.narrow(dimension, 0, out_features)
    if offset[0] == 1:
        return x.narrow(dimension, *offset[1:]), y
    return x, y.narrow(dimension, *offset[1:])


def _add_projected(
    x: torch.Tensor, y: torch.Tensor, up: torch.Tensor, down: torch.Tensor, offset: Offset | None
) -> None:
    x, target = _facing(x, y, offset, -1, down.shape[1], up.shape[0])
    inner = functional.linear(x, down).reshape(-1, up.shape[1])  # (T, Σr)
    if target.dtype == up.dtype and target.is_contiguous():
        target.view(-1, target.shape[-1]).addmm_(inner, up.T)
    else:
        target += (inner @ up.T).reshape(target.shape)


def _add_convolved(
    layer: Any, x: torch.Tensor, y: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> None:
    """Σr filters with the layer's own stride and padding, then a convolution of size one."""
    convolve = _CONVOLUTIONS[len(layer.kernel_size)]
    groups = layer.groups
    x, padding = _padded(layer, x)
    if groups == 1:
        x = x[:, : down.shape[1]]
    filters = down if groups == 1 else down.repeat(groups, *[1] * (down.dim() - 1))
    inner = convolve(x, filters, None, layer.stride, padding, layer.dilation, groups)
    ones = [1] * len(layer.kernel_size)
    y[:, : up.shape[0]] += convolve(inner, up.reshape(*up.shape, *ones), None, 1, 0, 1, groups)


def _padded(layer: Any, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """x, and how a convolution still has to pad it."""
    if layer.padding_mode == "zeros":
        return x, layer.padding
    return functional.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0


def _kronecker_convolved(
    layer: Any, x: torch.Tensor, first: torch.Tensor, up: torch.Tensor | None, down: torch.Tensor
) -> torch.Tensor:
    """(batch, out, …): the in₁ pieces of the channels are convolved as pictures of their own."""
    convolve = _CONVOLUTIONS[len(layer.kernel_size)]
    pieces, padding = _padded(layer, x.reshape(-1, down.shape[1], *x.shape[2:]))
    inner = convolve(pieces, down, None, layer.stride, padding, layer.dilation)
    size = inner.shape[2:]
    inner = torch.matmul(first, inner.reshape(x.shape[0], first.shape[1], -1))  # (batch, out₁, rank·size)
    if up is not None:
        inner = torch.matmul(up, inner.reshape(x.shape[0], first.shape[0], down.shape[0], -1))
    return inner.reshape(x.shape[0], -1, *size)


def can_be_bypassed(layer: Any) -> bool:
    """Whether what a layer gives is its weight times what it gets, and no more than a bias: linear and convolutions."""
    if isinstance(layer, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)):
        return not isinstance(layer, torch.nn.modules.conv._ConvTransposeNd)
    # ComfyUI's layer for quantized weights is a class of its own.
    return (
        hasattr(layer, "in_features") and hasattr(layer, "out_features") and "Linear" in type(layer).__name__
    )


def parts_of(factors: Iterable[Factors | KroneckerFactors]) -> LayerBypass:
    """Those of one layer, stacked by the part that they change."""
    by_part: dict[Offset | None, list[Factors]] = {}
    kronecker: list[KroneckerPart] = []
    for each in factors:
        if isinstance(each, KroneckerFactors):
            kronecker.append(KroneckerPart(each))
        else:
            by_part.setdefault(each.offset, []).append(each)
    return LayerBypass([*(Part.of(own) for own in by_part.values()), *kronecker])
