"""The base model on a LoRA's page is read, but it never decides."""

from __future__ import annotations

import pytest

from lora_resolver.model_file.architecture.base_models import declared_families, declared_otherwise

DECLARED = [
    ("SD 1.4", "sd1"),
    ("SD 1.5", "sd1"),
    ("SD 1.5 Hyper", "sd1"),
    ("SD 2.1 768", "sd2"),
    ("SD 3.5 Medium", "sd3"),
    ("SDXL 0.9", "sdxl"),
    ("SDXL 1.0", "sdxl"),
    ("SDXL Lightning", "sdxl"),
    ("Pony", "sdxl"),
    ("Illustrious", "sdxl"),
    ("NoobAI", "sdxl"),
    ("Pony V7", "auraflow"),
    ("AuraFlow", "auraflow"),
    ("Flux.1 S", "flux1"),
    ("Flux.1 D", "flux1"),
    ("Flux.1 Krea", "flux1"),
    ("Flux.1 Kontext", "flux1"),
    ("flux", "flux1"),
    ("FLUX_DEV_1", "flux1"),
    ("Flux.2 D", "flux2"),
    ("Flux.2 Klein 4B-base", "flux2"),
    ("Chroma", "chroma"),
    ("Qwen", "qwen_image"),
    ("Qwen 2", "qwen_image_2"),
    ("ZImageTurbo", "z_image"),
    ("Kolors", "kolors"),
    ("Lumina", "lumina2"),
    ("PixArt a", "pixart"),
    ("Stable Cascade", "cascade"),
    ("Hunyuan Video", "hunyuan_video"),
    ("Wan Video 1.3B t2v", "wan_1_3b"),
    ("wan2.1", "wan_14b"),
    ("Wan Video 14B i2v 480p", "wan_14b"),
    ("Wan Video 2.2 TI2V-5B", "wan_5b"),
    ("Wan Video 2.2 T2V-A14B", "wan_14b"),
    ("LTXV", "ltxv"),
    ("LTXV2", "ltx2"),
    ("HiDream", "hidream"),
    ("Anima", "anima"),
    ("Krea 2", "krea2"),
    ("Ernie", "ernie_image"),
    ("MiniMax H3", "minimax_h3"),
    ("ACE Audio", "ace_step"),
    ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
    ("runwayml/stable-diffusion-v1-5", "sd1"),
    ("stabilityai/stable-diffusion-2-1", "sd2"),
    ("black-forest-labs/FLUX.1-dev", "flux1"),
    ("Qwen/Qwen-Image", "qwen_image"),
]


@pytest.mark.parametrize(("declared", "family"), DECLARED)
def test_what_is_declared_is_known(declared: str, family: str) -> None:
    assert family in declared_families(declared)


@pytest.mark.parametrize(
    "declared",
    [
        "", "Other", "Upscaler", "Sora 2", "Veo 3", "Hunyuan3D", "HiDream-O1", "Qwen 3",
        "Flux 3 Video", "FLUX.3-dev", "Flux.4",
    ],
)  # fmt: skip
def test_what_says_nothing_of_use(declared: str) -> None:
    assert declared_families(declared) == ()


def test_a_contradiction_is_a_note() -> None:
    assert declared_otherwise("SD 1.5", ["sdxl", "kolors"]) == (
        'its page declares "SD 1.5", but the tensors are made for SDXL or Kolors; the tensors decide'
    )
    assert declared_otherwise("Pony", ["sdxl", "kolors"]) == ""
    assert declared_otherwise("Other", ["sdxl"]) == ""
    assert declared_otherwise("SD 1.5", []) == ""
