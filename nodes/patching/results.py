"""Patched clones of a MODEL or a CLIP, remembered: the same array on the same model is the same object again."""

from __future__ import annotations

import uuid
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ...lora_resolver import Mismatch
from .bypass import KEY, ArrayBypass
from .bypass_merging import tell_as_patches
from .bypass_plan import Plan, plan
from .stack import WeightedPatches, stack_patches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


KEPT_RESULTS = 4
"""How many different arrays on one and the same MODEL or CLIP are remembered."""


_ATTRIBUTE = "_air_lora_results"


@dataclass(frozen=True)
class _Result:
    """One array on one MODEL or CLIP: all but the model itself, which must be free to go when ComfyUI lets go of it."""

    patches: dict[str, Any]
    uuid: Any
    """`patches_uuid` of the clone: where it is the same, ComfyUI patches no weight again."""
    clone: weakref.ref[Any]
    plan: weakref.ref[Plan] | None = None
    """Its factors are as large as the files: the clone keeps them, and nothing else."""


@dataclass(frozen=True)
class Patched:
    """A MODEL or CLIP to hand on, and what was added to it."""

    patcher: Any
    patches: dict[str, Any]
    weights: int = 0
    bypass_bytes: int = 0
    how: Mapping[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    """SHA-256 → how many deltas went beside their layers, and why others did not."""


def patched(
    patcher: Any, entries: list[WeightedPatches], shapes: Mapping[str, Sequence[int]] | None = None
) -> Patched:
    """A clone with the patches; the same object where there are none, and the same clone where nothing has changed.

    With `shapes`, those of the weights, what can be goes beside its layer instead.
    """
    entries = sorted(
        (entry for entry in entries if entry.strength != 0 and entry.patches), key=lambda each: each.sha256
    )
    if not entries:
        return Patched(patcher, {})
    strengths = tuple((entry.sha256, entry.strength) for entry in entries)
    key = (_uuid(patcher), _injections_of(patcher), strengths, shapes is not None)
    results: OrderedDict[Any, _Result] = patcher.__dict__.setdefault(_ATTRIBUTE, OrderedDict())
    known = results.pop(key, None)
    clone = known.clone() if known is not None else None
    how = (known.plan() if known is not None and known.plan else None) or _plan(patcher, entries, shapes)
    if (
        known is None or clone is None or _uuid(clone) != known.uuid
    ):  # gone, or somebody has added to it since
        to_patch = entries if how is None else how.to_patch(entries)
        patches = known.patches if known is not None else stack_patches(to_patch)
        clone = _clone_with(patcher, patches, how, entries)
        if known is not None:
            _inner(clone).patches_uuid = known.uuid
        known = _Result(patches, _uuid(clone), weakref.ref(clone), weakref.ref(how) if how else None)
    results[key] = known
    while len(results) > KEPT_RESULTS:
        results.popitem(last=False)
    if how is None:
        return Patched(clone, known.patches, len(known.patches))
    keys = {f"{path}.weight" for path in how.layers} | set(known.patches)
    facts = zip(how.bypassed, how.reasons)
    return Patched(
        clone,
        known.patches,
        len(keys),
        _bypass_bytes(clone, how),
        {entry.sha256: each for entry, each in zip(entries, facts)},
    )


_PLAN = "_air_lora_bypass_plan"


def _plan(
    patcher: Any, entries: Sequence[WeightedPatches], shapes: Mapping[str, Sequence[int]] | None
) -> Plan | None:
    """The latest is kept, without the strengths: a changed weight stacks no factor again."""
    if shapes is None:
        return None
    key = tuple(entry.sha256 for entry in entries)
    latest: tuple[Any, Plan] | None = patcher.__dict__.get(_PLAN)
    if latest is None or latest[0] != key:
        latest = patcher.__dict__[_PLAN] = key, plan(_inner(patcher).model, shapes, entries)
    return latest[1]


def _bypass_bytes(patcher: Any, how: Plan) -> int:
    """What the factors take where the model computes: in fp32 on a CPU or where its weights are, else in 16 bits."""
    inner = _inner(patcher)
    is_wide = inner.load_device.type == "cpu" or inner.model_dtype() == torch.float32
    return (4 if is_wide else 2) * sum(part.numbers for layer in how.layers.values() for part in layer.parts)


def _inner(patcher: Any) -> Any:
    """The ModelPatcher of a MODEL, which it is, or of a CLIP, where it is inside."""
    return getattr(patcher, "patcher", patcher)


def _injections_of(patcher: Any) -> tuple[str, ...]:
    return tuple(_inner(patcher).injections)


def _uuid(patcher: Any) -> Any:
    """Of a MODEL or a CLIP."""
    return _inner(patcher).patches_uuid


def _clone_with(
    patcher: Any, patches: dict[str, Any], how: Plan | None, entries: Sequence[WeightedPatches]
) -> Any:
    clone = patcher.clone()
    if how is not None and how.layers:
        _put_beside(_inner(clone), how, entries)
    if not patches:
        return clone
    added = set(clone.add_patches(patches, 1.0))
    missing = [key for key in patches if key not in added]
    if missing:
        raise Mismatch(
            f"ComfyUI did not take the patch for {missing[0]} and {len(missing) - 1} more",
            code="patchRefused",
            remedy="Please report it with the names of the checkpoint and the LoRA.",
        )
    return clone


def _put_beside(inner: Any, how: Plan, entries: Sequence[WeightedPatches]) -> None:
    key = f"{KEY}_{uuid.uuid4().hex}"
    inner.is_injected = False  # a clone says so of a patcher in use, in which what is added here is not
    inner.set_injections(key, [ArrayBypass(how.layers, [entry.strength for entry in entries])])
    inner.size = inner.model_size() + _bypass_bytes(inner, how)
    tell_as_patches(inner, key, lambda: stack_patches(how.not_patched(entries)))
