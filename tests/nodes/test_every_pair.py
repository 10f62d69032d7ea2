"""Every family's LoRA on every family's model: it loads all its keys on its own, and is rejected on any other."""

from __future__ import annotations

import hashlib
import itertools
from functools import cache
from typing import TYPE_CHECKING

import pytest
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras, loaded_checkpoint
from air_lora_pack.nodes.patching.fit import check_fit
from air_lora_pack.nodes.patching.lora_file import outline

from lora_resolver import Mismatch, family_name
from tests import lora_files
from tests.header_samples import samples
from tests.nodes.checkpoints import load_once as load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CHECKPOINTS = ("sd15", "sdxl", "sd3", "wan", "wan_1_3b", "hunyuan_video", "ltxv")
FAMILY = {
    "sd15": "sd1",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "wan_1_3b": "wan_1_3b",
    "hunyuan_video": "hunyuan_video",
    "ltxv": "ltxv",
}
"""The small Wan is left out, because it has a width that no real Wan has."""
REAL_WIDTH = {"sd15", "sdxl", "wan_1_3b"}
"""The others are so narrow that their LoRAs match several families, so only the tensors lead to a rejection."""
VERDICTS = {"wrong family", "shape clash", "no key matches", "right family, will not load"}


@cache
def lora(folder: Path, checkpoint: str, naming: str = "") -> WeightedLora:
    path = folder / f"lora_{checkpoint}_{naming}.safetensors"
    modules = lora_files.modules_of(checkpoint, naming=naming)
    peft = naming == "diffusers" or (not naming and checkpoint not in ("sd15", "sdxl"))
    lora_files.write_lora(path, modules, seed=3, **({"spelling": "peft"} if peft else {}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightedLora("lora[1]", f"local:{path.name}", path, digest, 0.7, 0.7)


NAMINGS = {
    "sd15": ("kohya", "diffusers"),
    "sdxl": ("kohya", "kohya_diffusers", "diffusers"),
    "sd3": ("generic", "diffusers"),
}
OWN = [(checkpoint, naming) for checkpoint in CHECKPOINTS for naming in NAMINGS.get(checkpoint, ("generic",))]


@pytest.mark.parametrize(("checkpoint", "naming"), OWN)
def test_on_its_own_model_every_key_is_used(folder: Path, checkpoint: str, naming: str) -> None:
    result = apply_loras(*load(folder, checkpoint), [lora(folder, checkpoint, naming)], skip_mismatches=False)
    fit = result.entries[0].fit
    assert fit is not None
    assert (fit.unmatched, fit.without_clip, fit.verdict) == ((), 0, "fits")
    assert fit.matched > 10
    assert result.model is not load(folder, checkpoint)[0]


@pytest.mark.parametrize(("made_for", "loaded"), list(itertools.permutations(CHECKPOINTS, 2)))
def test_on_another_model_it_is_refused_before_anything_is_patched(
    folder: Path, made_for: str, loaded: str
) -> None:
    model, clip = load(folder, loaded)
    before = (model.patches_uuid, dict(model.patches))
    with pytest.raises(Mismatch) as caught:
        apply_loras(model, clip, [lora(folder, made_for)], skip_mismatches=False)
    text = str(caught.value)
    assert text.startswith(f"lora[1]: local:lora_{made_for}_.safetensors ")
    assert "on_mismatch to skip" in text
    if loaded in FAMILY:
        assert family_name(FAMILY[loaded]) in text
        assert FAMILY[loaded] in caught.value.facts["loaded"]
    if made_for in REAL_WIDTH:
        assert family_name(FAMILY[made_for]) in text
        assert FAMILY[made_for] in caught.value.facts["made_for"]
    assert caught.value.facts["verdict"] in VERDICTS
    if made_for in REAL_WIDTH and loaded in FAMILY:
        assert caught.value.facts["verdict"] == "wrong family"
    assert (model.patches_uuid, dict(model.patches)) == before
    skipped = apply_loras(model, clip, [lora(folder, made_for)], skip_mismatches=True)
    assert skipped.model is model
    assert skipped.entries[0].skipped is not None


def test_a_file_that_fits_in_part_says_how_much(folder: Path, tmp_path: Path) -> None:
    modules = lora_files.modules_of("sd15", parts=("unet",))
    odd = {**modules, "lora_unet_down_blocks_9_attentions_0_proj_in": next(iter(modules.values()))}
    path = lora_files.write_lora(tmp_path / "part.safetensors", odd, seed=1)
    entry = WeightedLora("lora[0]", "part", path, hashlib.sha256(path.read_bytes()).hexdigest(), 1.0, 1.0)
    fit = apply_loras(*load(folder, "sd15"), [entry], skip_mismatches=False).entries[0].fit
    assert fit is not None
    assert fit.verdict == "fits partly"
    assert {key.rpartition("proj_in")[0] for key in fit.unmatched} == {
        "lora_unet_down_blocks_9_attentions_0_"
    }


def test_names_with_a_slip_of_the_trainer_s_are_read_all_the_same(folder: Path, tmp_path: Path) -> None:
    modules = lora_files.modules_of("sd15", parts=("unet",))
    malformed = {name.replace("lora_unet_", "lora_unet__"): module for name, module in modules.items()}
    path = lora_files.write_lora(tmp_path / "malformed.safetensors", malformed, seed=1)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = WeightedLora("lora[0]", "malformed", path, digest, 1.0, 1.0)
    (applied,) = apply_loras(*load(folder, "sd15"), [entry], skip_mismatches=False).entries
    assert applied.fit is not None
    assert applied.fit.verdict == "fits"


def test_the_right_family_under_names_that_nobody_knows(folder: Path) -> None:
    """Names as in cloneofsimo's trainer: a number instead of a name."""
    sample = next(each for each in samples() if each.name == "sd1_cloneofsimo_analog")
    checkpoint = loaded_checkpoint(*load(folder, "sd15"))
    with pytest.raises(Mismatch) as caught:
        check_fit(outline(sample.header, "positional", ""), "positional", checkpoint)
    assert caught.value.facts["verdict"] == "right family, will not load"
    assert "was trained for SD 1.x, like the loaded checkpoint" in str(caught.value)
