"""Low-rank deltas beside their layers: y = Wx + Σ sᵢ·Bᵢ(Aᵢx), with no weight touched.

All entries of a layer are stacked into one pair of factors, as for patching. A multiplier for each row of the rank has
the strengths: a changed strength stacks nothing again. ComfyUI's injections put it in when a model has been loaded, and
take it out while the model is changed or unloaded.

Each layer has one dispatcher, whoever wants something added: a `forward` that is replaced twice and put back in another
order than it was taken would stay broken. So it stays where others stand around it, and adds nothing any more.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.utils
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .slices import Offset

KEY = "air_lora"
"""Of the injections in a ModelPatcher; each array has one of its own, with a number behind."""

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
    _multipliers: tuple[torch.Tensor, torch.Tensor] | None = None

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

    def multipliers(self, strengths: torch.Tensor, device: torch.device) -> torch.Tensor:
        """(Σr,) fp32, there: what each row of the rank counts. The same strengths at each forward are sent once."""
        kept = self._multipliers
        if kept is None or kept[0] is not strengths or kept[1].device != device:
            kept = self._multipliers = strengths, (strengths[self.owners] * self.scales).to(device)
        return kept[1]

    def drop_copies(self) -> None:
        """Gives back what `on` and `multipliers` keep."""
        self._copies.clear()
        self._multipliers = None

    @property
    def numbers(self) -> int:
        """How many the factors have."""
        return int(self.up.numel() + self.down.numel())


class LayerBypass:
    """What is added to one layer's output."""

    def __init__(self, parts: Sequence[Part]) -> None:
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
            factors, multipliers = part.on(y.device, dtype), part.multipliers(strengths, y.device)
            if hasattr(layer, "kernel_size"):
                _add_convolved(layer, x, y, factors, multipliers)
            else:
                _add_projected(x, y, factors, multipliers, part.offset)
        return y


def _add_projected(
    x: torch.Tensor,
    y: torch.Tensor,
    factors: tuple[torch.Tensor, torch.Tensor],
    multipliers: torch.Tensor,
    offset: Offset | None,
) -> None:
    up, down = factors
    target = y
    if offset is None:  # somebody may have widened the layer since: what is new in it is not the factors'
        x, target = x[..., : down.shape[1]], y[..., : up.shape[0]]
    elif offset[0] == 1:
        x = x.narrow(-1, *offset[1:])
    else:
        target = y.narrow(-1, *offset[1:])
    # The strengths in fp32: bf16 has three digits.
    inner = (functional.linear(x, down) * multipliers).to(up.dtype).reshape(-1, up.shape[1])  # (T, Σr)
    if target.dtype == up.dtype and target.is_contiguous():
        target.view(-1, target.shape[-1]).addmm_(inner, up.T)
    else:
        target += (inner @ up.T).reshape(target.shape)


def _add_convolved(
    layer: Any,
    x: torch.Tensor,
    y: torch.Tensor,
    factors: tuple[torch.Tensor, torch.Tensor],
    multipliers: torch.Tensor,
) -> None:
    """Σr filters with the layer's own stride and padding, then a convolution of size one."""
    up, down = factors
    convolve = _CONVOLUTIONS[len(layer.kernel_size)]
    groups = layer.groups
    padding = layer.padding
    if layer.padding_mode != "zeros":
        mode = layer.padding_mode
        x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        padding = 0
    if groups == 1:
        x = x[:, : down.shape[1]]
    filters = down if groups == 1 else down.repeat(groups, *[1] * (down.dim() - 1))
    inner = convolve(x, filters, None, layer.stride, padding, layer.dilation, groups)
    ones = [1] * len(layer.kernel_size)
    inner = (inner * multipliers.repeat(groups).reshape(-1, *ones)).to(up.dtype)
    y[:, : up.shape[0]] += convolve(inner, up.reshape(*up.shape, *ones), None, 1, 0, 1, groups)


class _InUse(NamedTuple):
    """An array in the layers of one model."""

    patcher: weakref.ref[Any]
    """Who has put it in, and is the one to take it out."""
    dispatchers: list[_Dispatcher]


class ArrayBypass:
    """An array's deltas on one MODEL or CLIP: a PatcherInjection.

    A ModelPatcher that is cloned while it is in use tells its clone that it is, too. Such a clone takes out nothing
    that it has not put in, as when it is let go of unused.
    """

    def __init__(self, layers: Mapping[str, LayerBypass], strengths: Sequence[float]) -> None:
        self.layers = layers
        self.strengths = torch.tensor(strengths, dtype=torch.float32)
        self._in_use: dict[int, _InUse] = {}

    def inject(self, patcher: Any) -> None:
        """Called once the model is loaded. The layers are those of that patcher: a copy of the model has others."""
        if self._is_anothers(patcher):
            return
        if getattr(patcher.model, "current_weight_patches_uuid", self) is None:
            return  # loading has failed: ComfyUI unloads the model then, and asks for its injections after that
        self.eject(patcher)
        found = [(comfy.utils.get_attr(patcher.model, path), layer) for path, layer in self.layers.items()]
        dispatchers = [_dispatcher_of(module) for module, _ in found]
        for dispatcher, (_, layer) in zip(dispatchers, found):
            dispatcher.active[id(self)] = (layer, self)
        self._in_use[id(patcher.model)] = _InUse(weakref.ref(patcher), dispatchers)

    def eject(self, patcher: Any) -> None:
        """Called before the model is changed or unloaded."""
        if self._is_anothers(patcher):
            return
        in_use = self._in_use.pop(id(patcher.model), None)
        for dispatcher in in_use.dispatchers if in_use else ():
            dispatcher.remove(id(self))
        for layer in self.layers.values():
            for part in layer.parts:
                part.drop_copies()

    def _is_anothers(self, patcher: Any) -> bool:
        in_use = self._in_use.get(id(patcher.model))
        owner = in_use.patcher() if in_use else None
        return owner is not None and owner is not patcher and owner.is_injected


class _Dispatcher:
    """A layer's `forward` with all that is added to its output."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self._layer = layer
        self._inner = layer.forward
        self._was_own = "forward" in layer.__dict__
        self.active: dict[int, tuple[LayerBypass, ArrayBypass]] = {}

        def forward(*arguments: Any, **options: Any) -> Any:
            y = self._inner(*arguments, **options)
            if not self.active:
                return y
            x = arguments[0] if arguments else next(iter(options.values()))
            for bypass, array in self.active.values():
                y = bypass.add(layer, x, y, array.strengths)
            return y

        forward.dispatcher = self  # type: ignore[attr-defined]  # how it is known again
        self.forward = forward
        layer.forward = forward

    def remove(self, owner: int) -> None:
        """The layer has its own `forward` again once nothing is added, unless somebody else stands around ours."""
        self.active.pop(owner, None)
        if not self.active and self._layer.__dict__.get("forward") is self.forward:
            if self._was_own:
                self._layer.forward = self._inner
            else:
                del self._layer.forward


def _dispatcher_of(layer: torch.nn.Module) -> _Dispatcher:
    """The one that stands outermost, else a new one around whatever does."""
    known = getattr(layer.__dict__.get("forward"), "dispatcher", None)
    return known if isinstance(known, _Dispatcher) else _Dispatcher(layer)


def can_be_bypassed(layer: Any) -> bool:
    """Whether what a layer gives is its weight times what it gets, and no more than a bias: linear and convolutions."""
    if isinstance(layer, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)):
        return not isinstance(layer, torch.nn.modules.conv._ConvTransposeNd)
    # ComfyUI's layer for quantized weights is a class of its own.
    return (
        hasattr(layer, "in_features") and hasattr(layer, "out_features") and "Linear" in type(layer).__name__
    )


def parts_of(factors: Iterator[Factors] | Sequence[Factors]) -> LayerBypass:
    """Those of one layer, stacked by the part that they change."""
    by_part: dict[Offset | None, list[Factors]] = {}
    for each in factors:
        by_part.setdefault(each.offset, []).append(each)
    return LayerBypass([Part.of(own) for own in by_part.values()])
