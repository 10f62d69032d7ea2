"""Low-rank deltas beside their layers: y = Wx + Σ sᵢ·Bᵢ(Aᵢx), with no weight touched.

All entries of a layer are stacked into one pair of factors, as for patching. A multiplier for each row of the rank has
the strengths: a changed strength stacks nothing again. ComfyUI's injections put it in when a model has been loaded, and
take it out while the model is changed or unloaded.

Each layer has one dispatcher, whoever wants something added: a `forward` that is replaced twice and put back in another
order than it was taken would stay broken. So it stays where others stand around it, and adds nothing any more.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.utils
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .bypass_layers import LayerBypass

KEY = "air_lora"
"""Of the injections in a ModelPatcher; each array has one of its own, with a number behind."""


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
