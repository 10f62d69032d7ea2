"""Runware's schedulers, as ComfyUI's pairs of sampler and scheduler.

Runware's names are diffusers classes or short forms of them: https://runware.ai/docs/image-inference/schedulers.
One name there says the method and how the noise levels are spaced; ComfyUI asks for both apart.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOISE_PREDICTORS = frozenset({"sd1", "sd2", "sdxl", "sdxl_refiner", "kolors", "pixart", "hunyuan_dit"})
"""Families that do not sample along a flow; ComfyUI's own examples use "normal" for them, "simple" for flows."""


@dataclass(frozen=True)
class Sampling:
    """Names for a KSampler. `note` says where they are not just what was asked for; empty where they are."""

    sampler: str
    scheduler: str
    note: str = ""


def sampling_for(asked: str, families: Sequence[str]) -> Sampling:
    """The closest pair to a scheduler of Runware's; empty: the model's own. `families` of the checkpoint, if known."""
    plain = "normal" if not families or NOISE_PREDICTORS.intersection(families) else "simple"
    if asked.lower() in ("", "default"):
        return Sampling(
            "euler", plain, "The model's own scheduler is not known here; this is ComfyUI's first choice."
        )
    match = _SPELLING.fullmatch(asked.strip().lower())
    method = _METHODS.get(match["method"]) if match else None
    if match is None or method is None:
        close = difflib.get_close_matches(asked.lower(), _METHODS, n=1, cutoff=0.7)
        guess = f' Did you mean "{close[0]}"?' if close else ""
        return Sampling("euler", plain, f"There is no such scheduler.{guess}")
    notes = [method.note] if method.note else []
    scheduler = match["sigmas"] or method.scheduler or plain
    if match["uniform"]:
        notes.append("The uniform variants have no counterpart; the noise levels are ComfyUI's own.")
    return Sampling(method.sampler, scheduler, " ".join(notes))


@dataclass(frozen=True)
class _Method:
    sampler: str
    scheduler: str = ""
    """Where the method comes with noise levels of its own."""
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
_UNIPC = _Method("uni_pc_bh2")  # the solver that diffusers takes without being told

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
    "dpm++": _Method(
        "dpmpp_2m", note="Runware does not say of which order this one is; this one is of the second."
    ),
    "dpm++ 2m": _DPMPP_2M,
    "dpmsolvermultistepscheduler": _DPMPP_2M,
    "edmdpmsolvermultistepscheduler": _Method("dpmpp_2m", "karras"),
    "dpmsolversinglestepscheduler": _Method(
        "dpmpp_2m", note="The single-step solver without noise is not in ComfyUI."
    ),
    "dpmsolvermultistepinverse": _Method("dpmpp_2m", note="The inverse solver is not in ComfyUI."),
    "dpm++ 2m sde": _Method("dpmpp_2m_sde"),
    "dpm++ 3m": _Method("dpmpp_2m", note="The third order is in ComfyUI with noise only (dpmpp_3m_sde)."),
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
    "pndmscheduler": _Method("ipndm", note="PNDM is not in ComfyUI; its improved form is."),
    "tcdscheduler": _Method("lcm", "sgm_uniform", "TCD needs a node pack of its own."),
    "unipc": _UNIPC,
    "unipcmultistepscheduler": _UNIPC,
    "unipc 2m": _UNIPC,
    "unipc 3m": _UNIPC,
}
