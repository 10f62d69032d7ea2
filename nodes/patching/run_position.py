"""Where a sampler's run is: the share of its steps that lie behind, and the share of the noise schedule.

ComfyUI tells a model's wrappers the noise level of each evaluation, and which levels the run goes through. That is
the step in nearly every sampler. Those that look ahead, to the end of a step or beyond, are listed by name: what they
evaluate there still belongs to the step that they are in, as it does where a run is split in two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...lora_resolver import Mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SAME_LEVEL = 1e-4
"""Relative; levels go through fp32, and through a table of a thousand."""


@dataclass
class RunPosition:
    """Of the run that is going on. One array has one; its wrappers keep it up to date."""

    levels: tuple[float, ...] = ()
    """The noise levels (sigmas) at which the steps begin, and the one at which the last ends."""
    sampler: str = ""
    step: int = 0
    """From 0."""
    level: float = 0.0
    _churns: bool = False
    """Noise is added before each step: its level is above the one where the step begins."""
    _reaches_the_end: bool = False
    """The second evaluation of a step is at its end, for a sampler whose options decide that."""
    _since_callback: int = field(default=0, repr=False)
    _announced: int = field(default=-1, repr=False)
    """The step of the sampler's latest callback."""

    def begin(self, levels: Sequence[float], sampler: str, options: Mapping[str, Any] | None = None) -> None:
        """A run begins; `options` are those of the sampler, as KSAMPLER has them."""
        options = options or {}
        self.levels, self.sampler, self._churns = tuple(levels), sampler, bool(options.get("s_churn", 0))
        self._reaches_the_end = float(options.get("r", 0)) >= 1
        self.step, self.level, self._since_callback, self._announced = 0, self.levels[0], 0, -1

    def announce(self, step: int) -> None:
        """The sampler says that it has evaluated the beginning of a step."""
        self._announced, self._since_callback = step, 0

    def evaluate(self, level: float) -> None:
        """The sampler evaluates the model at a noise level."""
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
        """From 0: of 10 steps, the fourth begins at 0.3."""
        if len(self.levels) < 2:
            raise Mismatch(
                "the steps of this run are not known, since the model was not called by one of ComfyUI's samplers",
                code="unknownSteps",
                remedy='Write "count": "percent" in the entries with a schedule.',
            )
        return self.step / (len(self.levels) - 1)

    def _step_at(self, level: float) -> int:
        if self.levels[0] < self.levels[-1]:  # noise comes, as with FlipSigmas
            return sum(each <= level * (1 + _SAME_LEVEL) for each in self.levels[:-1]) - 1
        return sum(each >= level * (1 - _SAME_LEVEL) for each in self.levels[:-1]) - 1

    def _looks_ahead(self) -> int:
        """How many evaluations follow the callback of a step, in samplers where their level does not tell the step."""
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


# Ancestral samplers of second order evaluate the middle of the step down to less noise, which is the step's end.
_LOOKS_AHEAD = dict.fromkeys(
    (
        *("sample_heun", "sample_exp_heun_2_x0", "sample_exp_heun_2_x0_sde"),
        *("sample_dpm_2_ancestral", "sample_dpmpp_2s_ancestral", "sample_dpmpp_2s_ancestral_cfg_pp"),
    ),
    1,
)
_TWO_STAGES = frozenset({"sample_seeds_2", "sample_dpmpp_sde", "sample_dpmpp_sde_gpu"})
"""Whose option `r` says where in a step the second evaluation is: 1 is its end."""


def share_of_noise(level: float, level_of: Callable[[float], Any]) -> float:
    """The share of the noise schedule that lies behind: the largest whose level is not below this one.

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
