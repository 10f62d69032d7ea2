"""Strengths that change over the steps of a run, on one MODEL.

Low-rank deltas are bypassed, so that a step changes a few numbers and no weight. A delta without factors becomes one of
ComfyUI's weight hooks. All entries that change such a weight, including those without a schedule, form one patch, which
is applied again when a strength changes. If it were added to an already patched weight, the result would be rounded
twice.

ComfyUI's wrappers give the position in the run: SAMPLER_SAMPLE has the run's noise levels, PREDICT_NOISE has the noise
level of each evaluation, and OUTER_SAMPLE has the conditionings, which the hooks are added to.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

import comfy.hooks
import comfy.patcher_extension
import torch
from comfy.weight_adapter.base import WeightAdapterBase

from ...lora_resolver import Mismatch
from .kinds import widened_to
from .run_position import RunPosition, share_of_noise
from .stack import stack_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...lora_resolver import Schedule
    from .bypass import ArrayBypass
    from .stack import WeightedPatches

_log = logging.getLogger(__name__)

WRAPPERS = comfy.patcher_extension.WrappersMP


class ScheduledStrengths:
    """The strengths of an array's entries at the current step of a run."""

    def __init__(
        self, strengths: Sequence[float], schedules: Sequence[Schedule | None], names: Sequence[str] = ()
    ) -> None:
        self._constant, self._schedules, self._names = tuple(strengths), tuple(schedules), tuple(names)
        self._counted: set[int] = set()
        """Numbers of the entries that were active at any step of the run."""
        self._position = RunPosition()
        self._tensors: dict[tuple[float, ...], torch.Tensor] = {}
        self._followers: list[ArrayBypass] = []
        self._in_sampler = False
        """Whether a sampler is running, so that the wrappers follow its position."""
        self._levels: Any = None
        self.now: tuple[float, ...] = self._at(lambda _: 0.0)

    def drive(self, bypass: ArrayBypass) -> None:
        """Makes the bypass use these strengths from now on."""
        self._followers.append(bypass)
        self._hand_on()

    def attach(self, patcher: Any, hooks: comfy.hooks.HookGroup | None) -> None:
        """Adds the wrappers to a ModelPatcher, and the hooks to the conditionings of its samplers."""
        key = f"air_lora_{uuid.uuid4().hex}"
        patcher.add_wrapper_with_key(WRAPPERS.SAMPLER_SAMPLE, key, self._sampled)
        patcher.add_wrapper_with_key(WRAPPERS.PREDICT_NOISE, key, self._predicted)
        patcher.add_callback_with_key(
            comfy.patcher_extension.CallbacksMP.ON_PREPARE_STATE, key, self._prepared
        )
        if hooks is not None:
            patcher.add_wrapper_with_key(WRAPPERS.OUTER_SAMPLE, key, _with_hooks(hooks))

    def _at(self, position: Callable[[str], float]) -> tuple[float, ...]:
        return tuple(
            constant if schedule is None else schedule.at(position(schedule.count))
            for constant, schedule in zip(self._constant, self._schedules)
        )

    def _hand_on(self) -> None:
        if self.now not in self._tensors:  # the same tensor again, so that factors scaled with it are reused
            self._tensors[self.now] = torch.tensor(self.now, dtype=torch.float32)
        for each in self._followers:
            each.strengths = self._tensors[self.now]

    def _sampled(
        self,
        executor: Any,
        guider: Any,
        sigmas: torch.Tensor,
        extra_args: Any,
        callback: Any,
        *rest: Any,
        **options: Any,
    ) -> Any:
        """Wraps a sampler's whole run."""
        sampler = executor.class_obj
        name = getattr(getattr(sampler, "sampler_function", None), "__name__", type(sampler).__name__)
        options_of_sampler = getattr(sampler, "extra_options", None)
        self._position.begin([float(each) for each in sigmas], name, options_of_sampler)

        def announced(step: int, *arguments: Any, **details: Any) -> Any:
            self._position.announce(step)
            return callback(step, *arguments, **details) if callback is not None else None

        self._in_sampler = True
        self._counted.clear()
        try:
            made = executor(guider, sigmas, extra_args, announced, *rest, **options)
        finally:
            self._in_sampler = False
        for number, (name, schedule) in enumerate(zip(self._names, self._schedules)):
            if schedule is not None and number not in self._counted:
                _log.warning("%s wasn't active at any of this run's %d steps", name, len(sigmas) - 1)
        return made

    def _prepared(self, patcher: Any, timestep: torch.Tensor, *rest: Any) -> None:
        """Called before each forward pass.

        It is needed for a model that isn't the sampler's main one, such as a guider's second model, because the
        wrappers aren't called for it.
        """
        options = rest[0] if rest and isinstance(rest[0], dict) else {}
        levels = options.get("transformer_options", {}).get("sample_sigmas")
        if self._in_sampler or levels is None:
            return
        if levels is not self._levels:
            self._levels = levels
            self.begin([float(each) for each in levels])
        self.go_to(float(timestep.flatten()[0]), patcher.model.model_sampling.percent_to_sigma)

    def _predicted(
        self, executor: Any, x: torch.Tensor, timestep: torch.Tensor, *rest: Any, **options: Any
    ) -> Any:
        """Wraps each evaluation of the sampler, which includes all conditionings."""
        sampling = executor.class_obj.inner_model.model_sampling
        self.go_to(float(timestep.flatten()[0]), sampling.percent_to_sigma)
        return executor(x, timestep, *rest, **options)

    def begin(self, levels: Sequence[float]) -> None:
        """Starts a run with these noise levels."""
        self._position.begin(levels, "")

    def go_to(self, level: float, level_of: Callable[[float], Any]) -> None:
        """Updates the strengths for an evaluation at this noise level; `level_of` is ComfyUI's `percent_to_sigma`."""
        self._position.evaluate(level)
        shares: dict[str, float] = {}

        def position(count: str) -> float:
            if count not in shares:
                shares[count] = (
                    share_of_noise(level, level_of)
                    if count == "percent"
                    else self._position.share_of_steps
                    if count == "steps"
                    else self._position.step
                )
            return shares[count]

        self.now = self._at(position)
        self._counted.update(number for number, strength in enumerate(self.now) if strength)
        self._hand_on()


class _AtTheseStrengths(comfy.hooks.HookKeyframeGroup):
    """Tells ComfyUI when a hook's weights must be patched again."""

    def __init__(self, strengths: ScheduledStrengths) -> None:
        super().__init__()
        self._strengths = strengths
        self._made_at: tuple[float, ...] | None = None

    @property
    def strength(self) -> float:
        """Always 1, because the adapters have their own strengths."""
        return 1.0

    def reset(self) -> None:
        """Called at the beginning of a run, when the weights are patched again."""
        super().reset()
        self._made_at = None

    def clone(self) -> _AtTheseStrengths:
        """Returns a copy that uses the same strengths."""
        return _AtTheseStrengths(self._strengths)

    def initialize_timesteps(self, model: Any) -> None:
        """Does nothing, because the steps aren't known before the run."""

    def prepare_current_keyframe(self, curr_t: Any, transformer_options: Any) -> bool:  # noqa: ARG002 - ComfyUI's
        """Whether a strength has changed since the last call."""
        changed = self._made_at is not None and self._made_at != self._strengths.now
        self._made_at = self._strengths.now
        return changed


class _ByLevel(_AtTheseStrengths):
    """The same for hooks on conditionings. They have no wrappers, so the noise level comes from ComfyUI's arguments."""

    def __init__(self, strengths: ScheduledStrengths) -> None:
        super().__init__(strengths)
        self._levels: Any = None
        self._level_of: Callable[[float], Any] = float

    def clone(self) -> _ByLevel:
        """Returns a copy that uses the same strengths."""
        return _ByLevel(self._strengths)

    def initialize_timesteps(self, model: Any) -> None:
        """Called when a run of this model begins."""
        self._levels, self._level_of = None, model.model_sampling.percent_to_sigma

    def prepare_current_keyframe(self, curr_t: Any, transformer_options: Any) -> bool:
        """Whether a strength is different at this noise level."""
        levels = transformer_options["sample_sigmas"]
        if self._levels is not levels:
            self._levels = levels
            self._strengths.begin([float(each) for each in levels])
        self._strengths.go_to(float(curr_t), self._level_of)
        return super().prepare_current_keyframe(curr_t, transformer_options)


class _CurrentAdapter(WeightAdapterBase):
    """One weight's patch, at the strengths that are current when ComfyUI computes the weight."""

    name = "air_lora_scheduled"

    def __init__(
        self, key: str, entries: Sequence[tuple[int, WeightedPatches]], strengths: ScheduledStrengths
    ) -> None:
        self.loaded_keys: set[str] = set()
        self.weights: tuple[Any, ...] = ()
        self._key, self._entries, self._strengths = key, entries, strengths

    def calculate_weight(
        self, weight: torch.Tensor, key: str, strength: float, *rest: Any, **options: Any
    ) -> Any:
        """Has the signature of ComfyUI's adapters; `strength` is 1."""
        now = self._strengths.now
        adapters = stack_patches([entry.at(now[number]) for number, entry in self._entries])
        if self._key not in adapters:
            return weight
        return adapters[self._key].calculate_weight(weight, key, strength, *rest, **options)


def hooked_weights(
    patcher: Any, entries: Sequence[tuple[int, WeightedPatches]], strengths: ScheduledStrengths
) -> comfy.hooks.HookGroup | None:
    """All entries' patches as one hook, which is registered with `patcher`.

    Each entry comes with its number among the strengths.
    """
    adapters = _current_adapters(entries, strengths)
    if not adapters:
        return None
    hook = comfy.hooks.WeightHook()
    hook.hook_keyframe = _AtTheseStrengths(strengths)
    hook.need_weight_init = False
    hook.weights = adapters
    hook.weights_clip = {}
    patcher.add_hook_patches(
        hook, hook.weights
    )  # registered before the run: during the run, ComfyUI would patch everything again
    group = comfy.hooks.HookGroup()
    group.add(hook)
    return group


def _current_adapters(
    entries: Sequence[tuple[int, WeightedPatches]], strengths: ScheduledStrengths
) -> dict[str, Any]:
    """Weight name → its patch at the current strengths. Raises Mismatch if entries can't be combined."""
    by_key: dict[str, list[tuple[int, WeightedPatches]]] = {}
    for number, entry in entries:
        parts: dict[str, dict[Any, Any]] = {}
        for target, value in entry.patches.items():
            parts.setdefault(target.key, {})[target] = value
        for key, patches in parts.items():
            by_key.setdefault(key, []).append((number, entry.only(patches)))
    for key, own in by_key.items():
        for _, entry in own:
            if any(widened_to(value) for value in entry.patches.values()):
                raise Mismatch(
                    f"{entry.name} widens the weight {key}, which can't be scheduled",
                    code="cannotSchedule",
                    parameter=entry.place,
                    remedy="Give it, and every other LoRA that changes this weight, a single weight without "
                    "start and end.",
                )
        stack_patches([entry.at(1.0) for _, entry in own])  # so that errors are raised before the run
    return {key: _CurrentAdapter(key, own, strengths) for key, own in by_key.items()}


def hooks_for_conditionings(
    diffusion: Sequence[WeightedPatches], text_encoder: Sequence[WeightedPatches]
) -> comfy.hooks.HookGroup:
    """All entries as one hook for conditionings, like the hook that `Create Hook LoRA` makes for each file.

    The sum is one patch for each weight. So every order of the entries gives the same bits, and switching from one
    region to another patches each weight once. Raises Mismatch if entries can't be combined.
    """
    hook = comfy.hooks.WeightHook()
    hook.need_weight_init = False
    hook.weights_clip = dict(stack_patches(text_encoder))
    if any(entry.schedule is not None for entry in diffusion):
        strengths = ScheduledStrengths(
            [each.strength for each in diffusion], [each.schedule for each in diffusion]
        )
        hook.hook_keyframe = _ByLevel(strengths)
        hook.weights = _current_adapters(list(enumerate(diffusion)), strengths)
    else:
        hook.weights = dict(stack_patches(diffusion))
    group = comfy.hooks.HookGroup()
    group.add(hook)
    return group


def _with_hooks(hooks: comfy.hooks.HookGroup) -> Callable[..., Any]:
    """A wrapper of a sampler's run that adds the hooks to those of each conditioning."""

    def sampled(executor: Any, *arguments: Any, **options: Any) -> Any:
        together: dict[int, Any] = {}
        for conditionings in executor.class_obj.conds.values():
            for each in conditionings:
                own = each.get("hooks")
                # Conditionings with the same group get the same new one, because ComfyUI patches weights again when
                # the group changes.
                if id(own) not in together:
                    together[id(own)] = own.clone_and_combine(hooks) if own is not None else hooks
                each["hooks"] = together[id(own)]
        return executor(*arguments, **options)

    return sampled
