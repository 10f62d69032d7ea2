"""Patched clones of a MODEL or a CLIP. They are remembered: the same array on the same model gives the same object."""

from __future__ import annotations

import uuid
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ...lora_resolver import Mismatch
from .bypass import KEY, ArrayBypass
from .bypass_layers import Part
from .bypass_merging import show_when_saved, tell_as_patches
from .bypass_plan import Plan, plan
from .schedules import ScheduledStrengths, hooked_weights
from .stack import stack_patches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .stack import WeightedPatches


KEPT_RESULTS = 4
"""How many different arrays are remembered for the same MODEL or CLIP."""


_ATTRIBUTE = "_air_lora_results"


@dataclass(frozen=True)
class _Result:
    """One array on one MODEL or CLIP. It doesn't keep the model alive, so that ComfyUI can free it."""

    patches: dict[str, Any]
    uuid: Any
    """`patches_uuid` of the clone. While it is unchanged, ComfyUI doesn't patch the weights again."""
    clone: weakref.ref[Any]
    rest: Any
    """What was patched, and at which strengths. Results with the same value have the same weights."""
    plan: weakref.ref[Plan] | None = None
    """A weak reference, because the factors are as large as the files. The clone keeps the plan."""


@dataclass(frozen=True)
class Patched:
    """A MODEL or CLIP to return, and what was added to it."""

    patcher: Any
    patches: dict[str, Any]
    weights: int = 0
    bypass_bytes: int = 0
    how: Mapping[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    """Place of an entry → how many of its deltas are bypassed, and why the others aren't."""
    hooked: int = 0
    """How many weights ComfyUI patches again when a schedule changes."""
    lost_dynamic: bool = False
    """Whether ComfyUI's dynamic memory is off for this model, because weights are hooked."""


def patched(
    patcher: Any, entries: list[WeightedPatches], shapes: Mapping[str, Sequence[int]], *, bypass: bool = False
) -> Patched:
    """A clone with the patches: the same clone if nothing has changed, and `patcher` itself if there are no patches.

    `shapes` are those of the weights. With `bypass`, deltas are bypassed where possible. The deltas of an entry with a
    schedule are bypassed where possible in any case.
    """
    entries = sorted(
        (entry for entry in entries if entry.strength != 0 and entry.patches),
        key=lambda each: (each.identity, each.strength),
    )
    if not entries:
        return Patched(patcher, {})
    beside = tuple(bypass or entry.schedule is not None for entry in entries)
    strengths = tuple((entry.identity, entry.strength) for entry in entries)
    key = (_uuid(patcher), _injections_of(patcher), strengths, bypass)
    results: OrderedDict[Any, _Result] = patcher.__dict__.setdefault(_ATTRIBUTE, OrderedDict())
    known = results.pop(key, None)
    clone = known.clone() if known is not None else None
    how = (known.plan() if known is not None and known.plan else None) or _plan(
        patcher, entries, shapes, beside
    )
    to_patch = entries if how is None else how.to_patch(entries)
    to_hook = _changing(to_patch)
    if (
        known is None or clone is None or _uuid(clone) != known.uuid
    ):  # the clone is gone, or other code has added patches to it
        # With a bypass, an entry has fewer patches than without.
        rest = (key[:2], bypass, tuple((each.identity, each.strength) for each in to_patch if each.patches))
        same = known or next((each for each in results.values() if each.rest == rest and not to_hook), None)
        patches = same.patches if same is not None else stack_patches(_without(to_patch, to_hook))
        clone = _clone_with(patcher, patches, how, entries, to_hook)
        if same is not None:
            _inner(clone).patches_uuid = same.uuid
        known = _Result(patches, _uuid(clone), weakref.ref(clone), rest, weakref.ref(how) if how else None)
    results[key] = known
    while len(results) > KEPT_RESULTS:
        results.popitem(last=False)
    if how is None:
        return Patched(clone, known.patches, len(known.patches))
    keys = {f"{path}.weight" for path in how.layers} | set(known.patches) | to_hook
    facts = zip(how.bypassed, how.reasons)
    return Patched(
        clone,
        known.patches,
        len(keys),
        _bypass_bytes(clone, how, entries),
        {entry.place: each for entry, each, own in zip(entries, facts, beside) if own},
        len(to_hook),
        bool(to_hook) and _is_dynamic(patcher),
    )


def measured(patcher: Any, entries: Sequence[WeightedPatches]) -> Patched:
    """What `patched` would add, without a clone: for callers that only need the entries and their number.

    Raises the same errors as `patched`.
    """
    present = [entry.at(entry.strength) for entry in entries if entry.strength != 0 and entry.patches]
    patches = stack_patches(present)
    return Patched(patcher, dict(patches), len(patches))


def _changing(to_patch: Sequence[WeightedPatches]) -> set[str]:
    """The weights that a schedule changes and that aren't bypassed."""
    return {target.key for entry in to_patch if entry.schedule is not None for target in entry.patches}


def _without(entries: Sequence[WeightedPatches], keys: set[str]) -> list[WeightedPatches]:
    if not keys:
        return list(entries)
    return [
        entry.only({target: value for target, value in entry.patches.items() if target.key not in keys})
        for entry in entries
    ]


_PLAN = "_air_lora_bypass_plan"


def _plan(
    patcher: Any,
    entries: Sequence[WeightedPatches],
    shapes: Mapping[str, Sequence[int]],
    beside: Sequence[bool],
) -> Plan | None:
    """The plan for these entries, or None if none is bypassed.

    The latest plan is kept, without the strengths: if an entry's weight changes, no factors are stacked again.
    """
    if not any(beside):
        return None
    key = tuple((entry.identity, own) for entry, own in zip(entries, beside))
    latest: tuple[Any, Plan] | None = patcher.__dict__.get(_PLAN)
    if latest is None or latest[0] != key:
        latest = patcher.__dict__[_PLAN] = key, plan(_inner(patcher).model, shapes, entries, beside)
    return latest[1]


def _bypass_bytes(patcher: Any, how: Plan, entries: Sequence[WeightedPatches]) -> int:
    """Bytes of the factors on the model's device: in fp32 on a CPU or if the model computes in it, else in 16 bits."""
    inner = _inner(patcher)
    computes = getattr(inner.model, "manual_cast_dtype", None) or inner.model_dtype()
    # A text encoder has no such setting, and computes in fp32.
    is_wide = inner.load_device.type == "cpu" or computes in (None, torch.float32)
    numbers = sum(part.numbers for layer in how.layers.values() for part in layer.parts)
    if any(entry.schedule is not None for entry in entries):  # plus the rows that are active at a step
        numbers += sum(
            part.down.numel()
            for layer in how.layers.values()
            for part in layer.parts
            if isinstance(part, Part)
        )
    return (4 if is_wide else 2) * numbers


def _inner(patcher: Any) -> Any:
    """The ModelPatcher: a MODEL is one, and a CLIP contains one."""
    return getattr(patcher, "patcher", patcher)


def _injections_of(patcher: Any) -> tuple[str, ...]:
    return tuple(_inner(patcher).injections)


def _uuid(patcher: Any) -> Any:
    """The `patches_uuid` of a MODEL or a CLIP."""
    return _inner(patcher).patches_uuid


def _clone_with(
    patcher: Any,
    patches: dict[str, Any],
    how: Plan | None,
    entries: Sequence[WeightedPatches],
    to_hook: set[str],
) -> Any:
    scheduled = any(entry.schedule is not None for entry in entries)
    # ComfyUI's dynamic memory has no weight hooks.
    clone = patcher.get_non_dynamic_delegate() if to_hook and _is_dynamic(patcher) else patcher.clone()
    # With a schedule, the bypass is set up even without layers, so that saving or merging the model raises an error.
    bypass = (
        _put_beside(_inner(clone), how, entries) if how is not None and (how.layers or scheduled) else None
    )
    if bypass is not None and clone is not _inner(clone):
        show_when_saved(clone)
    if how is not None and scheduled:
        _follow_schedules(clone, how, entries, bypass, to_hook)
    if not patches:
        return clone
    added = set(clone.add_patches(patches, 1.0))
    missing = [key for key in patches if key not in added]
    if missing:
        raise Mismatch(
            f"ComfyUI rejected {len(missing)} of {len(patches)} patches, for example the one for {missing[0]}",
            code="patchRefused",
            remedy="Report this as a bug, with the names of the checkpoint and the LoRA.",
        )
    return clone


def _is_dynamic(patcher: Any) -> bool:
    """Whether ComfyUI loads the weights on demand (dynamic memory of newer versions)."""
    return bool(getattr(patcher, "is_dynamic", lambda: False)())


def _put_beside(inner: Any, how: Plan, entries: Sequence[WeightedPatches]) -> ArrayBypass:
    key = f"{KEY}_{uuid.uuid4().hex}"
    inner.is_injected = False  # a clone of an injected patcher is marked as injected, but this bypass isn't
    bypass = ArrayBypass(how.layers, [entry.strength for entry in entries])
    inner.set_injections(key, [bypass])
    size = _bypass_bytes(inner, how, entries)
    inner.size = inner.model_size() + size

    def as_patches() -> dict[str, Any]:
        _refuse_schedules(entries)
        return stack_patches(how.not_patched(entries))

    scheduled = any(entry.schedule is not None for entry in entries)
    tell_as_patches(inner, key, as_patches, size, scheduled=scheduled)
    return bypass


def _refuse_schedules(entries: Sequence[WeightedPatches]) -> None:
    for entry in entries:
        if entry.schedule is not None:
            raise Mismatch(
                f"{entry.name} has a schedule, which can't be merged into the weights",
                code="scheduleInWeights",
                parameter=entry.place,
                remedy="To merge or save the model, give it a single weight, without start and end.",
            )


def _follow_schedules(
    clone: Any, how: Plan, entries: Sequence[WeightedPatches], bypass: ArrayBypass | None, to_hook: set[str]
) -> None:
    strengths = ScheduledStrengths(
        *([each.strength for each in entries], [each.schedule for each in entries]),
        [f"{each.place}: {each.name}" for each in entries],
    )
    if bypass is not None:
        strengths.drive(bypass)
    left = (
        (number, entry.only({target: each for target, each in rest.items() if target.key in to_hook}))
        for number, (entry, rest) in enumerate(zip(entries, how.rest))
    )
    strengths.attach(clone, hooked_weights(clone, [each for each in left if each[1].patches], strengths))
