"""Makes a bypass visible to nodes that merge, subtract, and save models.

These nodes read a ModelPatcher's weights with all patches (`get_key_patches`), add another model's weights or scale its
own weights (`add_patches`), or patch it permanently (`partially_load` with `force_patch_weights`, in newer ComfyUI
`state_dict_for_saving`). None of these includes a bypass. So the bypass is listed as a patch in the first case, and is
converted to a patch in the other cases.
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
    """Sets up a ModelPatcher with a bypass under `key`, and all its clones. `patches_of` returns the bypass as patches.

    `size` is the size of the bypass's factors, in bytes. If `scheduled`, the bypass can't be converted to patches, and
    `patches_of` raises.
    """
    telling = _Telling(key, patches_of, size, scheduled)

    def on_clone(_: Any, clone: Any) -> None:
        clone.is_injected = False  # ComfyUI copies this from the patcher, but a new clone isn't injected
        telling.watch(clone)

    telling.watch(patcher)
    patcher.add_callback_with_key(CallbacksMP.ON_CLONE, key, on_clone)


class _Telling:
    """Replaces methods of a ModelPatcher."""

    def __init__(
        self, key: str, patches_of: Callable[[], dict[str, Any]], size: int, scheduled: bool
    ) -> None:
        self._key, self._patches_of, self._size, self._scheduled = key, patches_of, size, scheduled

    def watch(self, patcher: Any) -> None:
        """Replaces the methods of this patcher."""
        # ComfyUI expects a model to be freed as soon as it drops it, so nothing here may keep the patcher alive.
        its = weakref.ref(patcher)
        key_patches, add_patches, load = (
            _unbound(patcher, name) for name in ("get_key_patches", "add_patches", "partially_load")
        )

        def as_patches(own: Any) -> tuple[Any, Any, Any] | None:
            """Converts the bypass to patches. Returns the previous state, so that it can be restored."""
            if self._key not in own.injections:
                return None
            patches = self._patches_of()  # if this raises, nothing has been removed yet
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
            # Without arguments, ComfyUI reads all weights of a MODEL, to apply its hooks to them as they are.
            is_merged = bool(arguments or options) or not self._scheduled
            if self._key in own.injections and is_merged:
                for name, adapter in self._patches_of().items():
                    if name in found:
                        found[name] = [*found[name], (1.0, adapter, 1.0, None, None)]
            return found

        def added(patches: Any, strength_patch: float = 1.0, strength_model: float = 1.0) -> Any:
            own: Any = its()
            if strength_model != 1.0 or any(isinstance(value, list) for value in patches.values()):
                as_patches(own)  # a merge: a list contains the weights of another model
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
            elif before is not None and not own.__dict__.get(_SAVING):  # it was saved, and is now used again
                own.patches, own.patches_uuid = before[0], before[1]
                own.set_injections(self._key, before[2])
            if self._key in own.injections and extra_memory < _ALL:
                extra_memory -= self._size  # keeps memory free for the factors if not all weights fit
            try:
                return load(own, device_to, extra_memory, force_patch_weights, **options)
            except BaseException:
                own.eject_model()  # not every kind of patcher marks that loading failed
                raise

        patcher.get_key_patches, patcher.add_patches, patcher.partially_load = with_bypass, added, loaded
        # Newer ComfyUI saves MODEL and CLIP through this method.
        if hasattr(type(patcher), "model_state_dict_for_saving"):
            save = _unbound(patcher, "model_state_dict_for_saving")

            def saved(*arguments: Any, **options: Any) -> Any:
                own: Any = its()
                if self._key in own.injections:  # loaded for saving, without the bypass as patches
                    for_saving(own)
                    own.__dict__[_SAVING] = True
                    try:
                        comfy.model_management.load_models_gpu([own])
                    finally:
                        del own.__dict__[_SAVING]
                return save(own, *arguments, **options)

            patcher.model_state_dict_for_saving = saved


_SAVED = "_air_lora_before_saving"
"""Attribute of a ModelPatcher: key of a bypass that was converted to patches for saving → the previous state."""

_SAVING = "_air_lora_saving"
"""Attribute of a ModelPatcher while it is loaded to be saved."""

_ALL = 1e30
"""In bytes. ComfyUI passes more than this to load a whole model."""


def show_when_saved(clip: Any) -> None:
    """Makes a CLIP, and its clones, include the bypass when the text encoders are saved.

    Needed for ComfyUI versions that read the weights before they patch them permanently (0.3.75, `save_checkpoint`).
    """
    if hasattr(type(clip.patcher), "model_state_dict_for_saving"):
        return
    its, of_class = (
        weakref.ref(clip),
        type(clip),
    )  # weak, because a CLIP that references itself would keep its model in memory

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
    """The method of the patcher's class, or the replacement from an earlier bypass, to be called with the patcher."""
    own = patcher.__dict__.get(name)
    if own is not None:
        return lambda _, *arguments, **options: own(*arguments, **options)
    method: Callable[..., Any] = getattr(type(patcher), name)
    return method
