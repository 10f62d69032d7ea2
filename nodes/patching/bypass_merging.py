"""What is beside the layers, told to whoever reads a model's weights: nodes that merge models, and what saves LoRAs.

They ask a ModelPatcher for its weights with all patches (`get_key_patches`), and scale what it has by adding patches
with a strength of the model (`add_patches`). A bypass is neither. So it is told as a patch in the one case, and becomes
one in the other.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from comfy.patcher_extension import CallbacksMP

if TYPE_CHECKING:
    from collections.abc import Callable


def tell_as_patches(patcher: Any, key: str, patches_of: Callable[[], dict[str, Any]]) -> None:
    """For a ModelPatcher with a bypass under `key`, and all that are cloned from it. `patches_of` gives its patches."""
    _watch(patcher, key, patches_of)
    patcher.add_callback_with_key(CallbacksMP.ON_CLONE, key, lambda _, clone: _watch(clone, key, patches_of))


def _watch(patcher: Any, key: str, patches_of: Callable[[], dict[str, Any]]) -> None:
    # ComfyUI counts on a model being gone at once when it lets go of it: nothing here may hold on to the patcher.
    its = weakref.ref(patcher)
    key_patches, add_patches = (_unbound(patcher, name) for name in ("get_key_patches", "add_patches"))

    def with_bypass(*arguments: Any, **options: Any) -> dict[str, Any]:
        own: Any = its()
        found: dict[str, Any] = key_patches(own, *arguments, **options)
        if key in own.injections:
            for name, adapter in patches_of().items():
                if name in found:
                    found[name] = [*found[name], (1.0, adapter, 1.0, None, None)]
        return found

    def scaled(patches: Any, strength_patch: float = 1.0, strength_model: float = 1.0) -> Any:
        own: Any = its()
        if strength_model != 1.0 and key in own.injections:
            own.eject_model()
            own.remove_injections(key)
            add_patches(own, patches_of(), 1.0)
        return add_patches(own, patches, strength_patch, strength_model)

    patcher.get_key_patches, patcher.add_patches = with_bypass, scaled


def _unbound(patcher: Any, name: str) -> Callable[..., Any]:
    """A method of its class, or what an earlier bypass has put in its place."""
    own = patcher.__dict__.get(name)
    if own is not None:
        return lambda _, *arguments, **options: own(*arguments, **options)
    method: Callable[..., Any] = getattr(type(patcher), name)
    return method
