"""The bypass of one layer: the factors, and how their products are added to the layer's output.

Entries with two factors are stacked along the rank and computed as one pair of products. Each Kronecker product needs
its own two products.
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
    """The number of the entry's strength."""
    offset: Offset | None
    """(dimension, start, length) of a part of the weight; None for the whole weight."""
    up: torch.Tensor
    """(out, rank)"""
    down: torch.Tensor
    """(rank, in[, *kernel])"""
    scale: float


@dataclass(frozen=True)
class KroneckerFactors:
    """What a LoKr adds to one part of a layer: scale · first ⊗ (up @ down), before the entry's strength."""

    entry: int
    """The number of the entry's strength."""
    offset: Offset | None
    """(dimension, start, length) of a part of the weight; None for the whole weight."""
    first: torch.Tensor
    """(out₁, in₁)"""
    up: torch.Tensor | None
    """(out₂, rank); None if `down` is the whole second factor"""
    down: torch.Tensor
    """(rank or out₂, in₂[, *kernel])"""
    scale: float


@dataclass
class Part:
    """Everything that is added to one part of a layer, stacked along the rank."""

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
        """Stacks the factors of one part, in this order."""
        ranks = torch.tensor([each.down.shape[0] for each in factors])
        return cls(
            factors[0].offset,
            torch.cat([each.up for each in factors], 1) if len(factors) > 1 else factors[0].up,
            torch.cat([each.down for each in factors]) if len(factors) > 1 else factors[0].down,
            torch.tensor([each.entry for each in factors]).repeat_interleave(ranks),
            torch.tensor([each.scale for each in factors], dtype=torch.float32).repeat_interleave(ranks),
        )

    def on(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors on this device, in this dtype. Copies are kept for later calls."""
        if self.up.device == device and self.up.dtype == dtype == self.down.dtype:
            return self.up, self.down
        key = (device, dtype)
        if key not in self._copies:
            self._copies[key] = self.up.to(device, dtype), self.down.to(device, dtype)
        return self._copies[key]

    def at(
        self, strengths: torch.Tensor, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors on this device, with each column of `up` multiplied by its strength. Kept until strengths change.

        Rows with a strength of 0 are left out. The product is computed in fp32 and rounded once, because bf16 has only
        three digits. Multiplying at each forward pass instead would be another pass over T·Σr numbers.
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
        """Frees the copies that `on` and `at` keep."""
        self._copies.clear()
        self._scaled = None

    @property
    def numbers(self) -> int:
        """How many numbers the factors have, including the copy of `up` that `at` makes."""
        return int(2 * self.up.numel() + self.down.numel())

    def add(self, layer: Any, x: torch.Tensor, y: torch.Tensor, strengths: torch.Tensor) -> None:
        """Adds this part's output for x to y. The dtype of x is the one to compute in."""
        up, down = self.at(strengths, y.device, x.dtype)
        if not len(down):
            return
        if hasattr(layer, "kernel_size"):
            _add_convolved(layer, x, y, up, down)
        else:
            _add_projected(x, y, up, down, self.offset)


class KroneckerPart:
    """One LoKr as a bypass: x is split into in₁ pieces of in₂, and no factor becomes as large as the weight."""

    def __init__(self, factors: KroneckerFactors) -> None:
        self._factors = factors
        self._copies: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor | None, ...]] = {}

    @property
    def numbers(self) -> int:
        """How many numbers the factors have."""
        return sum(each.numel() for each in self._tensors() if each is not None)

    def drop_copies(self) -> None:
        """Frees the copies for other devices and dtypes."""
        self._copies.clear()

    def add(self, layer: Any, x: torch.Tensor, y: torch.Tensor, strengths: torch.Tensor) -> None:
        """Adds this part's output for x to y. The dtype of x is the one to compute in."""
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
    """All parts that are added to one layer's output."""

    def __init__(self, parts: Sequence[Part | KroneckerPart]) -> None:
        self.parts = tuple(parts)

    def add(
        self, layer: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, strengths: torch.Tensor
    ) -> torch.Tensor:
        """Returns y with the parts added, in place unless y requires gradients.

        x is (…, in), or (batch, in, …) for a convolution.
        """
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
    """The slice of x that a part reads, and the slice of y that it changes. `dimension` is that of the features."""
    if offset is None:  # another LoRA may have widened the layer since: the factors don't cover what it added
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
    """Convolves with Σr filters and the layer's own stride and padding, then with a kernel of size one."""
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
    """Returns x, and the padding that the convolution still has to apply."""
    if layer.padding_mode == "zeros":
        return x, layer.padding
    return functional.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0


def _kronecker_convolved(
    layer: Any, x: torch.Tensor, first: torch.Tensor, up: torch.Tensor | None, down: torch.Tensor
) -> torch.Tensor:
    """Returns (batch, out, …). Each of the in₁ pieces of the channels is convolved as a separate picture."""
    convolve = _CONVOLUTIONS[len(layer.kernel_size)]
    pieces, padding = _padded(layer, x.reshape(-1, down.shape[1], *x.shape[2:]))
    inner = convolve(pieces, down, None, layer.stride, padding, layer.dilation)
    size = inner.shape[2:]
    inner = torch.matmul(first, inner.reshape(x.shape[0], first.shape[1], -1))  # (batch, out₁, rank·size)
    if up is not None:
        inner = torch.matmul(up, inner.reshape(x.shape[0], first.shape[0], down.shape[0], -1))
    return inner.reshape(x.shape[0], -1, *size)


def can_be_bypassed(layer: Any) -> bool:
    """Whether a layer only multiplies its input by its weight and adds a bias: linear layers and convolutions."""
    if isinstance(layer, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)):
        return not isinstance(layer, torch.nn.modules.conv._ConvTransposeNd)
    # ComfyUI has a separate class for layers with quantized weights.
    return (
        hasattr(layer, "in_features") and hasattr(layer, "out_features") and "Linear" in type(layer).__name__
    )


def parts_of(factors: Iterable[Factors | KroneckerFactors]) -> LayerBypass:
    """Stacks the factors of one layer by the part that they change."""
    by_part: dict[Offset | None, list[Factors]] = {}
    kronecker: list[KroneckerPart] = []
    for each in factors:
        if isinstance(each, KroneckerFactors):
            kronecker.append(KroneckerPart(each))
        else:
            by_part.setdefault(each.offset, []).append(each)
    return LayerBypass([*(Part.of(own) for own in by_part.values()), *kronecker])
