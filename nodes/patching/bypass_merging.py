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
    patcher: Any, key: str, patches_of: Callable[[], dict[str, Any]], size: int, *, scheduled: bool = False
) -> None:
    """For a ModelPatcher with a bypass under `key`, and all that are cloned from it. `patches_of` gives its patches.

    `size` is what its factors take, in bytes. `scheduled`: it has no patches to give, and raises.
    """
    telling = _Telling(key, patches_of, size, scheduled)

    def on_clone(_: Any, clone: Any) -> None:
        clone.is_injected = False  # ComfyUI copies it of a patcher in use; nothing was put in for a new clone
        telling.watch(clone)

    telling.watch(patcher)
    patcher.add_callback_with_key(CallbacksMP.ON_CLONE, key, on_clone)


class _Telling:
    """The methods that stand in place of a ModelPatcher's own."""

    def __init__(
        self, key: str, patches_of: Callable[[], dict[str, Any]], size: int, scheduled: bool
    ) -> None:
        self._key, self._patches_of, self._size, self._scheduled = key, patches_of, size, scheduled

    def watch(self, patcher: Any) -> None:
        """Puts them in."""
        # ComfyUI counts on a model being gone at once when it lets go of it: nothing here may hold on to the patcher.
        its = weakref.ref(patcher)
        key_patches, add_patches, load = (
            _unbound(patcher, name) for name in ("get_key_patches", "add_patches", "partially_load")
        )

        def as_patches(own: Any) -> tuple[Any, Any, Any] | None:
            """Gives what there was before, so that it can be again."""
            if self._key not in own.injections:
                return None
            patches = self._patches_of()  # raises before anything is taken out
            before = {name: list(each) for name, each in own.patches.items()}, own.patches_uuid
            own.eject_model()
            injections = own.get_injections(self._key)
            own.remove_injections(self._key)
            add_patches(own, patches, 1.0)
            return (*before, injections)

        def for_saving(own: Any) -> None:
            before = as_patches(own)
            if before is not None:
                own.__dict__.setdefault(_SAVED, {})[self._key] = before

        def with_bypass(*arguments: Any, **options: Any) -> dict[str, Any]:
            own: Any = its()
            found: dict[str, Any] = key_patches(own, *arguments, **options)
            # ComfyUI asks for all weights of a MODEL, by no name, to put its hooks on them as they are.
            is_merged = bool(arguments or options) or not self._scheduled
            if self._key in own.injections and is_merged:
                for name, adapter in self._patches_of().items():
                    if name in found:
                        found[name] = [*found[name], (1.0, adapter, 1.0, None, None)]
            return found

        def added(patches: Any, strength_patch: float = 1.0, strength_model: float = 1.0) -> Any:
            own: Any = its()
            if strength_model != 1.0 or any(isinstance(value, list) for value in patches.values()):
                as_patches(own)  # a merge: lists are the weights of another model
            return add_patches(own, patches, strength_patch, strength_model)

        def loaded(
            device_to: Any, extra_memory: float = 0, force_patch_weights: bool = False, **options: Any
        ) -> Any:
            own: Any = its()
            before = own.__dict__.get(_SAVED, {}).pop(self._key, None)
            if before is not None and (force_patch_weights or own.__dict__.get(_SAVING)):
                own.__dict__[_SAVED][self._key] = before
            if force_patch_weights:
                for_saving(own)
            elif before is not None and not own.__dict__.get(_SAVING):  # it was saved, and is used again now
                own.patches, own.patches_uuid = before[0], before[1]
                own.set_injections(self._key, before[2])
            if self._key in own.injections and extra_memory < _ALL:
                extra_memory -= self._size  # weights that do not fit are not to take the factors' room
            try:
                return load(own, device_to, extra_memory, force_patch_weights, **options)
            except BaseException:
                own.eject_model()  # not every kind of patcher says that it has failed
                raise

        patcher.get_key_patches, patcher.add_patches, patcher.partially_load = with_bypass, added, loaded
        # Of newer ComfyUI: MODEL and CLIP are saved through it.
        if hasattr(type(patcher), "model_state_dict_for_saving"):
            save = _unbound(patcher, "model_state_dict_for_saving")

            def saved(*arguments: Any, **options: Any) -> Any:
                own: Any = its()
                if self._key in own.injections:  # it has been loaded for that, without them
                    for_saving(own)
                    own.__dict__[_SAVING] = True
                    try:
                        comfy.model_management.load_models_gpu([own])
                    finally:
                        del own.__dict__[_SAVING]
                return save(own, *arguments, **options)

            patcher.model_state_dict_for_saving = saved


_SAVED = "_air_lora_before_saving"
"""Of a ModelPatcher: key of a bypass that has become patches to be saved → what there was before."""

_SAVING = "_air_lora_saving"
"""Of a ModelPatcher that is loaded in order to be saved."""

_ALL = 1e30
"""Bytes: ComfyUI loads a whole model with more than that."""


def show_when_saved(clip: Any) -> None:
    """Has a CLIP, and each that is cloned from it, save its text encoders with what is beside their layers.

    For ComfyUI that reads the weights before it patches them for good (0.3.75, `save_checkpoint`).
    """
    if hasattr(type(clip.patcher), "model_state_dict_for_saving"):
        return
    its, of_class = (
        weakref.ref(clip),
        type(clip),
    )  # a CLIP that held on to itself would keep its model in memory

    def saved() -> Any:
        own: Any = its()
        comfy.model_management.load_models_gpu([own.patcher], force_patch_weights=True)
        return of_class.get_sd(own)

    def cloned(*arguments: Any, **options: Any) -> Any:
        made = of_class.clone(its(), *arguments, **options)
        show_when_saved(made)
        return made

    clip.get_sd, clip.clone = saved, cloned


def _unbound(patcher: Any, name: str) -> Callable[..., Any]:
    """A method of its class, or what an earlier bypass has put in its place."""
    own = patcher.__dict__.get(name)
    if own is not None:
        return lambda _, *arguments, **options: own(*arguments, **options)
    method: Callable[..., Any] = getattr(type(patcher), name)
    return method
