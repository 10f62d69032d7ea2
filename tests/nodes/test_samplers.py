"""Runware's schedulers as ComfyUI's samplers."""

from __future__ import annotations

import comfy.samplers
import pytest
from air_lora_pack.nodes.request.samplers import sampling_for

# All names of https://runware.ai/docs/image-inference/schedulers.
DOCUMENTED = [
    *("Default", "DDIM", "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler"),
    *("DPMSolverSinglestepScheduler", "DPMSolverMultistepScheduler", "DPMSolverMultistepInverse"),
    *("DPM++", "DPM++ Karras", "DPM++ Beta", "DPM++ Exponential", "DPM++ SDE", "DPM++ SDE Karras"),
    *("DPM++ SDE Beta", "DPM++ SDE Exponential", "DPM++ 2M", "DPM++ 2M Karras", "DPM++ 2M Beta"),
    *("DPM++ 2M Exponential", "DPM++ 2M SDE", "DPM++ 2M SDE Karras", "DPM++ 2M SDE Beta"),
    *("DPM++ 2M SDE Exponential", "DPM++ 3M", "DPM++ 3M Karras", "DPM++ 3M Beta", "DPM++ 3M Exponential"),
    *("DPM++ Uniform", "DPM++ Uniform Beta", "DPM++ Uniform Exponential", "DPM++ Uniform Karras"),
    *("DPM++ 2M Uniform", "DPM++ 2M SDE Uniform", "DPM++ 3M Uniform", "DPM++ 3M SDE Uniform"),
    *("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "Euler", "EulerDiscreteScheduler"),
    *("Euler Karras", "Euler Beta", "Euler Exponential", "Euler a", "EulerAncestralDiscreteScheduler"),
    *("FlowMatchEulerDiscreteScheduler", "Heun", "HeunDiscreteScheduler", "Heun Karras", "IPNDMScheduler"),
    *("IPNDM Uniform", "IPNDM Uniform Beta", "IPNDM Uniform Exponential", "IPNDM Uniform Karras"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "LCM", "LCMScheduler", "LMS"),
    *("LMSDiscreteScheduler", "LMS Karras", "PNDMScheduler", "TCDScheduler", "UniPC"),
    *("UniPCMultistepScheduler", "UniPC Karras", "UniPC 2M", "UniPC 2M Karras", "UniPC 3M"),
    *("UniPC 3M Karras", "UniPC Uniform", "UniPC 2M Uniform", "UniPC 3M Uniform", "UniPC Uniform Beta"),
    *("UniPC Uniform Exponential", "UniPC Uniform Karras"),
]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_name_is_known_and_is_one_that_comfyui_has(name: str) -> None:
    sampling = sampling_for(name, ())
    assert sampling.sampler in comfy.samplers.SAMPLER_NAMES
    assert sampling.scheduler in comfy.samplers.SCHEDULER_NAMES
    assert sampling.is_known


@pytest.mark.parametrize(
    ("name", "families", "expected"),
    [
        ("DPM++ 2M Karras", (), ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Exponential", (), ("dpmpp_2m_sde", "exponential")),
        ("Euler a", ("sdxl",), ("euler_ancestral", "normal")),
        ("EulerAncestralDiscreteScheduler", (), ("euler_ancestral", "normal")),
        ("Euler", ("flux1",), ("euler", "simple")),
        ("Euler Beta", ("flux1",), ("euler", "beta")),
        ("FlowMatchEulerDiscreteScheduler", (), ("euler", "simple")),
        ("euler karras", (), ("euler", "karras")),
        ("UniPC Karras", (), ("uni_pc_bh2", "karras")),
        ("DDIMScheduler", (), ("ddim", "ddim_uniform")),
    ],
)
def test_the_pair_of_a_name(name: str, families: tuple[str, ...], expected: tuple[str, str]) -> None:
    sampling = sampling_for(name, families)
    assert (sampling.sampler, sampling.scheduler, sampling.note) == (*expected, "")


@pytest.mark.parametrize(
    "name", ["", "Default", "DPM++ 3M", "TCDScheduler", "UniPC Uniform", "Eulre", "Nothing"]
)
def test_what_is_only_close_says_so(name: str) -> None:
    assert sampling_for(name, ()).note


def test_a_slip_is_answered_with_the_name_that_comes_close() -> None:
    assert 'Did you mean "euler"?' in sampling_for("Eulre", ()).note
