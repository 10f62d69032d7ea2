"""What is beside the layers, shown to whoever reads a model's weights: nodes that merge, subtract and save models.

They ask a ModelPatcher for its weights with all patches (`get_key_patches`), give it weights of another model or scale
its own (`add_patches`), or have it patched for good (`partially_load` with `force_patch_weights`, in newer ComfyUI
`state_dict_for_saving`). A bypass is in none of these. So it is listed as a patch in the first case, and becomes one
in the others.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import comfy.model_management
from comfy.patcher_extension import CallbacksMP

if TYPE_CHECKING:
    from collections.abc import Callable


def tell_as_patches(
    patcher: Any, key: str, patches_of: Callable[[], dict[str, Any]], *, scheduled: bool = False
) -> None:
    """For a ModelPatcher with a bypass under `key`, and all that are cloned from it. `patches_of` gives its patches.

    `scheduled`: it cannot give them, and raises.
    """

    def on_clone(_: Any, clone: Any) -> None:
        clone.is_injected = False  # ComfyUI copies it of a patcher in use; nothing was put in for a new clone
        _watch(clone, key, patches_of, scheduled)

    _watch(patcher, key, patches_of, scheduled)
    patcher.add_callback_with_key(CallbacksMP.ON_CLONE, key, on_clone)


def _watch(patcher: Any, key: str, patches_of: Callable[[], dict[str, Any]], scheduled: bool) -> None:
    # ComfyUI counts on a model being gone at once when it lets go of it: nothing here may hold on to the patcher.
    its = weakref.ref(patcher)
    key_patches, add_patches, load = (
        _unbound(patcher, name) for name in ("get_key_patches", "add_patches", "partially_load")
    )

    def as_patches(own: Any) -> None:
        if key in own.injections:
            own.eject_model()
            own.remove_injections(key)
            add_patches(own, patches_of(), 1.0)

    def with_bypass(*arguments: Any, **options: Any) -> dict[str, Any]:
        own: Any = its()
        found: dict[str, Any] = key_patches(own, *arguments, **options)
        # ComfyUI asks for all weights of a MODEL, by no name, to put its hooks on them as they are.
        is_merged = bool(arguments or options) or not scheduled
        if key in own.injections and is_merged:
            for name, adapter in patches_of().items():
                if name in found:
                    found[name] = [*found[name], (1.0, adapter, 1.0, None, None)]
        return found

    def added(patches: Any, strength_patch: float = 1.0, strength_model: float = 1.0) -> Any:
        own: Any = its()
        if strength_model != 1.0 or any(isinstance(value, list) for value in patches.values()):
            as_patches(own)  # a merge: lists are the weights of another model
        return add_patches(own, patches, strength_patch, strength_model)

    def loaded(device_to: Any, *arguments: Any, **options: Any) -> Any:
        own: Any = its()
        if options.get("force_patch_weights") or (len(arguments) > 1 and arguments[1]):
            as_patches(own)
        return load(own, device_to, *arguments, **options)

    patcher.get_key_patches, patcher.add_patches, patcher.partially_load = with_bypass, added, loaded
    if hasattr(type(patcher), "state_dict_for_saving"):
        save = _unbound(patcher, "state_dict_for_saving")

        def saved(*arguments: Any, **options: Any) -> Any:
            own: Any = its()
            if key in own.injections:  # it has been loaded for that, without them
                as_patches(own)
                comfy.model_management.load_models_gpu([own])
            return save(own, *arguments, **options)

        patcher.state_dict_for_saving = saved


def _unbound(patcher: Any, name: str) -> Callable[..., Any]:
    """A method of its class, or what an earlier bypass has put in its place."""
    own = patcher.__dict__.get(name)
    if own is not None:
        return lambda _, *arguments, **options: own(*arguments, **options)
    method: Callable[..., Any] = getattr(type(patcher), name)
    return method
