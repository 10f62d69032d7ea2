"""Maps Runware's schedulers to ComfyUI's pairs of sampler and scheduler.

Runware's names are diffusers classes or short forms of them: https://runware.ai/docs/image-inference/schedulers.
Such a name includes the method and the spacing of the noise levels. ComfyUI has separate inputs for the two.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOISE_PREDICTORS = frozenset({"sd1", "sd2", "sdxl", "sdxl_refiner", "kolors", "pixart", "hunyuan_dit"})
"""Families that aren't flow models. ComfyUI's own examples use "normal" for them, and "simple" for flow models."""


@dataclass(frozen=True)
class Sampling:
    """Names for a KSampler. `note` explains differences from the request; it is empty if there are none."""

    sampler: str
    scheduler: str
    note: str = ""
    is_known: bool = True
    """Whether the requested scheduler exists."""


def sampling_for(asked: str, families: Sequence[str]) -> Sampling:
    """The closest pair for one of Runware's schedulers. An empty name means the model's own scheduler.

    `families` are the checkpoint's, if known.
    """
    plain = "normal" if not families or NOISE_PREDICTORS.intersection(families) else "simple"
    if asked.lower() in ("", "default"):
        return Sampling("euler", plain, "The model's own scheduler is unknown. This is ComfyUI's default.")
    match = _SPELLING.fullmatch(asked.strip().lower())
    method = _METHODS.get(match["method"]) if match else None
    if match is None or method is None:
        close = difflib.get_close_matches(asked.lower(), _METHODS, n=1, cutoff=0.7)
        guess = f' Did you mean "{close[0]}"?' if close else ""
        return Sampling("euler", plain, f"Unknown scheduler.{guess}", is_known=False)
    notes = [method.note] if method.note else []
    scheduler = match["sigmas"] or method.scheduler or plain
    if match["uniform"]:
        notes.append("ComfyUI has no uniform variants. It uses its own noise levels.")
    return Sampling(method.sampler, scheduler, " ".join(notes))


@dataclass(frozen=True)
class _Method:
    sampler: str
    scheduler: str = ""
    """ComfyUI's scheduler, if the method has its own noise levels."""
    note: str = ""


_SPELLING = re.compile(r"(?P<method>.+?)(?: (?P<uniform>uniform))?(?: (?P<sigmas>karras|exponential|beta))?")

_EULER, _EULER_A = _Method("euler"), _Method("euler_ancestral")
_DPMPP_2M, _HEUN, _LMS, _LCM = (
    _Method("dpmpp_2m"),
    _Method("heun"),
    _Method("lms"),
    _Method("lcm", "sgm_uniform"),
)
_DDIM, _IPNDM = _Method("ddim", "ddim_uniform"), _Method("ipndm")
_UNIPC = _Method("uni_pc_bh2")  # diffusers' default solver

_METHODS: Mapping[str, _Method] = {
    "euler": _EULER,
    "eulerdiscretescheduler": _EULER,
    "euler a": _EULER_A,
    "eulerancestraldiscretescheduler": _EULER_A,
    "flowmatcheulerdiscretescheduler": _Method("euler", "simple"),
    "edmeulerscheduler": _Method("euler", "karras"),
    "ddim": _DDIM,
    "ddimscheduler": _DDIM,
    "ddpmscheduler": _Method("ddpm"),
    "deismultistepscheduler": _Method("deis"),
    "dpm++": _Method("dpmpp_2m", note="Runware doesn't specify the order. This one is second order."),
    "dpm++ 2m": _DPMPP_2M,
    "dpmsolvermultistepscheduler": _DPMPP_2M,
    "edmdpmsolvermultistepscheduler": _Method("dpmpp_2m", "karras"),
    "dpmsolversinglestepscheduler": _Method(
        "dpmpp_2m", note="ComfyUI doesn't have the single-step solver without noise."
    ),
    "dpmsolvermultistepinverse": _Method("dpmpp_2m", note="ComfyUI doesn't have the inverse solver."),
    "dpm++ 2m sde": _Method("dpmpp_2m_sde"),
    "dpm++ 3m": _Method("dpmpp_2m", note="ComfyUI has the third order only with noise (dpmpp_3m_sde)."),
    "dpm++ 3m sde": _Method("dpmpp_3m_sde"),
    "dpm++ sde": _Method("dpmpp_sde"),
    "heun": _HEUN,
    "heundiscretescheduler": _HEUN,
    "ipndm": _IPNDM,
    "ipndmscheduler": _IPNDM,
    "kdpm2discretescheduler": _Method("dpm_2"),
    "kdpm2ancestraldiscretescheduler": _Method("dpm_2_ancestral"),
    "lcm": _LCM,
    "lcmscheduler": _LCM,
    "lms": _LMS,
    "lmsdiscretescheduler": _LMS,
    "pndmscheduler": _Method("ipndm", note="ComfyUI doesn't have PNDM. This is its improved form."),
    "tcdscheduler": _Method("lcm", "sgm_uniform", "TCD needs a separate node pack."),
    "unipc": _UNIPC,
    "unipcmultistepscheduler": _UNIPC,
    "unipc 2m": _UNIPC,
    "unipc 3m": _UNIPC,
}
