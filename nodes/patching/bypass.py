"""Adds low-rank deltas to the outputs of layers, without changing the weights: y = Wx + Σ sᵢ·Bᵢ(Aᵢx).

All entries of a layer are stacked into one pair of factors, as for patching. The strengths are multipliers, one for
each row of the rank, so a changed strength doesn't stack anything again. ComfyUI's injections activate the bypass after
a model is loaded, and remove it while the model is changed or unloaded.

All arrays share one dispatcher per layer: if a `forward` is replaced twice, and the two are restored in the wrong
order, the layer stays broken. For the same reason, a dispatcher that other code has wrapped stays in place, and adds
nothing anymore.
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
"""The prefix of the injections' keys in a ModelPatcher. Each array has its own key, with a unique suffix."""


class _InUse(NamedTuple):
    """An array that is injected into the layers of one model."""

    patcher: weakref.ref[Any]
    """The patcher that injected it, and that will eject it."""
    dispatchers: list[_Dispatcher]


class ArrayBypass:
    """An array's deltas on one MODEL or CLIP: a PatcherInjection.

    When a ModelPatcher is cloned while it is injected, the clone is also marked as injected. Such a clone doesn't eject
    what it didn't inject, for example when it is deleted unused.
    """

    def __init__(self, layers: Mapping[str, LayerBypass], strengths: Sequence[float]) -> None:
        self.layers = layers
        self.strengths = torch.tensor(strengths, dtype=torch.float32)
        self._in_use: dict[int, _InUse] = {}

    def inject(self, patcher: Any) -> None:
        """Called after the model is loaded. Uses the layers of this patcher, because a copy of the model has others."""
        if self._is_anothers(patcher):
            return
        if getattr(patcher.model, "current_weight_patches_uuid", self) is None:
            return  # loading failed: ComfyUI unloads the model, and calls its injections afterwards
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
    """Replaces a layer's `forward`, and adds the deltas of all active arrays to its output."""

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

        forward.dispatcher = self  # type: ignore[attr-defined]  # identifies our `forward`
        self.forward = forward
        layer.forward = forward

    def remove(self, owner: int) -> None:
        """Removes one array. After the last one, restores the layer's `forward`, unless other code has wrapped ours."""
        self.active.pop(owner, None)
        if not self.active and self._layer.__dict__.get("forward") is self.forward:
            if self._was_own:
                self._layer.forward = self._inner
            else:
                del self._layer.forward


def _dispatcher_of(layer: torch.nn.Module) -> _Dispatcher:
    """The dispatcher that is the layer's current `forward`, or else a new one around the current `forward`."""
    known = getattr(layer.__dict__.get("forward"), "dispatcher", None)
    return known if isinstance(known, _Dispatcher) else _Dispatcher(layer)
