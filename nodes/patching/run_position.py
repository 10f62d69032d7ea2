"""The position in a sampler's run: the share of its steps that are done, and the share of the noise schedule.

ComfyUI passes the noise level of each evaluation, and all noise levels of the run, to a model's wrappers. In nearly
every sampler, the noise level determines the step. Samplers that look ahead, to the end of a step or beyond, are listed
by name: these evaluations still belong to the current step, as they do if a run is split in two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...lora_resolver import Mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SAME_LEVEL = 1e-4
"""A relative tolerance: noise levels are rounded to fp32, and to a table of a thousand levels."""


@dataclass
class RunPosition:
    """The position in the current run. Each array has one, which its wrappers update."""

    levels: tuple[float, ...] = ()
    """The noise levels (sigmas) at which the steps begin, and the one at which the last ends."""
    sampler: str = ""
    step: int = 0
    """The number of the step, from 0."""
    level: float = 0.0
    _churns: bool = False
    """Whether noise is added before each step, so that its first evaluation is above the level where it begins."""
    _reaches_the_end: bool = False
    """Whether the second evaluation of a step is at its end, in samplers with an option for that."""
    _since_callback: int = field(default=0, repr=False)
    _announced: int = field(default=-1, repr=False)
    """The step of the sampler's latest callback."""

    def begin(self, levels: Sequence[float], sampler: str, options: Mapping[str, Any] | None = None) -> None:
        """Starts a run. `options` are the sampler's extra options, from KSAMPLER."""
        options = options or {}
        self.levels, self.sampler, self._churns = tuple(levels), sampler, bool(options.get("s_churn", 0))
        self._reaches_the_end = float(options.get("r", 0)) >= 1
        self.step, self.level, self._since_callback, self._announced = 0, self.levels[0], 0, -1

    def announce(self, step: int) -> None:
        """Records the sampler's callback: it has evaluated the beginning of this step."""
        self._announced, self._since_callback = step, 0

    def evaluate(self, level: float) -> None:
        """Records that the sampler evaluates the model at this noise level."""
        self.level = level
        ahead = self._looks_ahead()
        if self._announced >= 0 and self._since_callback < ahead:
            self.step = self._announced
        elif (ahead or self._churns) and self._announced >= 0:
            self.step = self._announced + 1
        else:
            self.step = self._step_at(level)
        self.step = min(max(self.step, 0), max(len(self.levels) - 2, 0))
        self._since_callback += 1

    @property
    def share_of_steps(self) -> float:
        """The share of the steps that are done: of 10 steps, the fourth begins at 0.3."""
        if len(self.levels) < 2:
            raise Mismatch(
                "The steps of this run are unknown, because the model wasn't called by one of ComfyUI's samplers",
                code="unknownSteps",
                remedy='Set "count": "percent" in the entries with a schedule.',
            )
        return self.step / (len(self.levels) - 1)

    def _step_at(self, level: float) -> int:
        if self.levels[0] < self.levels[-1]:  # the noise increases, as with FlipSigmas
            return sum(each <= level * (1 + _SAME_LEVEL) for each in self.levels[:-1]) - 1
        return sum(each >= level * (1 - _SAME_LEVEL) for each in self.levels[:-1]) - 1

    def _looks_ahead(self) -> int:
        """How many evaluations after a step's callback belong to the step, if the noise level doesn't determine it."""
        if (
            self._announced < 0
            or self._announced + 1 >= len(self.levels)
            or self.levels[self._announced + 1] == 0
        ):
            return 0
        if self.sampler == "sample_heunpp2":
            after = self._announced + 2
            return 1 if after >= len(self.levels) or self.levels[after] == self.levels[-1] else 2
        if self._churns and self.sampler == "sample_dpm_2":
            return 1
        if self._reaches_the_end and self.sampler in _TWO_STAGES:
            return 1
        return _LOOKS_AHEAD.get(self.sampler, 0)


# Second-order ancestral samplers step down to less noise than the next level. They evaluate the middle of that step,
# which is at the next level: the end of the scheduled step.
_LOOKS_AHEAD = dict.fromkeys(
    (
        *("sample_heun", "sample_exp_heun_2_x0", "sample_exp_heun_2_x0_sde"),
        *("sample_dpm_2_ancestral", "sample_dpmpp_2s_ancestral", "sample_dpmpp_2s_ancestral_cfg_pp"),
    ),
    1,
)
_TWO_STAGES = frozenset({"sample_seeds_2", "sample_dpmpp_sde", "sample_dpmpp_sde_gpu"})
"""Samplers whose option `r` sets where in a step the second evaluation is: 1 is the end of the step."""


def share_of_noise(level: float, level_of: Callable[[float], Any]) -> float:
    """The share of the noise schedule that is done: the largest share whose noise level isn't below `level`.

    `level_of` is ComfyUI's `percent_to_sigma`, which falls from a huge number at 0 to 0 at 1.
    """
    low, high = 0.0, 1.0
    if float(level_of(high)) >= level:
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if float(level_of(middle)) >= level:
            low = middle
        else:
            high = middle
    return low
