"""Arrays on tiny models of every kind: the result equals that of a chain of ComfyUI's own loaders."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.text_encoders.sd3_clip
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras

from tests import lora_files
from tests.nodes.checkpoints import load_once as load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CPU = torch.device("cpu")


def write(path: Path, modules: Any, seed: int, **options: Any) -> WeightedLora:
    lora_files.write_lora(path, modules, seed=seed, **options)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightedLora(f"lora[{seed}]", path.stem, path, digest, 0.7 - 0.2 * seed, 0.4 - 0.3 * seed)


def core(pair: tuple[Any, Any], entries: list[WeightedLora]) -> tuple[Any, Any]:
    model, clip = pair
    for entry in entries:
        file = comfy.utils.load_torch_file(str(entry.path))
        model, clip = comfy.sd.load_lora_for_models(
            model, clip, file, entry.model_strength, entry.clip_strength
        )
    return model, clip


def weights(patcher: Any, keys: set[str]) -> dict[str, torch.Tensor]:
    """These weights while the patcher is in use. It is unpatched afterwards."""
    patcher.unpatch_model(device_to=CPU)
    patcher.patch_model(device_to=CPU)
    try:
        return weights_of(patcher, keys)
    finally:
        patcher.unpatch_model(device_to=CPU)


def assert_same_as_core(mine: Any, theirs: Any, keys: set[str]) -> None:
    """Checks that the same weights are patched, and that each is at most one rounding of its dtype from core's."""
    assert set(mine.patches) == set(theirs.patches) == keys
    ours, core_weights = weights(mine, keys), weights(theirs, keys)
    base = weights_of(mine, keys)
    for name in keys:
        tensor = core_weights[name]
        step = torch.finfo(tensor.dtype).eps * tensor.float().abs() + 1e-7
        # Core rounds the sum after each file if it patches in steps. Ours rounds once.
        assert ((ours[name].float() - tensor.float()).abs() <= 1.01 * step).all(), name
        assert not torch.equal(ours[name], base[name]), name


def weights_of(patcher: Any, keys: set[str]) -> dict[str, torch.Tensor]:
    there = patcher.model.state_dict()
    return {name: there[name].clone() for name in keys}


CASES = [
    ("sd15", "kohya", "all"),
    ("sd15", "diffusers", "usual"),
    ("sdxl", "kohya", "usual"),
    ("sdxl", "kohya_diffusers", "usual"),
    ("sd3", "generic", "usual"),
    ("sd3", "diffusers", "usual"),
    ("wan", "generic", "all"),
    ("hunyuan_video", "generic", "all"),
    ("ltxv", "generic", "all"),
]


@pytest.mark.parametrize(("checkpoint", "naming", "only"), CASES)
def test_a_stack_is_what_core_s_chain_gives(
    folder: Path, tmp_path: Path, checkpoint: str, naming: str, only: str
) -> None:
    pair = load(folder, checkpoint)
    modules = lora_files.modules_of(checkpoint, naming=naming, only=only)
    if only == "all":  # modules that aren't in ComfyUI's key map aren't compared
        modules = {name: module for name, module in modules.items() if len(module.shape) > 1}
    spelling = {} if naming.startswith("kohya") else {"spelling": "peft"}
    entries = [write(tmp_path / f"{seed}.safetensors", modules, seed, **spelling) for seed in range(2)]
    result = apply_loras(*pair, entries, skip_mismatches=False)
    model, clip = core(pair, entries)
    assert_same_as_core(result.model, model, set(model.patches))
    assert len(result.model.patches) > 5
    if clip is not None:
        assert_same_as_core(result.clip.patcher, clip.patcher, set(clip.patcher.patches))
    for entry in result.entries:
        assert entry.fit is not None
        assert entry.fit.unmatched == ()


def test_slices_of_one_weight_that_only_some_files_have(folder: Path, tmp_path: Path) -> None:
    """q, k, and v are one weight in SD3. A file can change any of the three."""
    pair = load(folder, "sd3")
    modules = lora_files.modules_of("sd3", naming="diffusers", parts=("unet",))
    only_q = {name: module for name, module in modules.items() if name.endswith(("to_q", "add_q_proj"))}
    without_q = {name: module for name, module in modules.items() if name not in only_q}
    assert only_q
    entries = [
        write(tmp_path / "q.safetensors", only_q, 0, spelling="peft"),
        write(tmp_path / "rest.safetensors", without_q, 1, spelling="peft"),
    ]
    result = apply_loras(*pair, entries, skip_mismatches=False)
    model, _ = core(pair, entries)
    assert_same_as_core(result.model, model, set(model.patches))


def test_the_slices_of_flux_and_the_whole_weights_are_what_core_s_chain_gives(
    folder: Path, tmp_path: Path
) -> None:
    """q, k, and v are one weight, and `linear1` also has the MLP's first layer. kohya's files have the whole weight."""
    pair = load(folder, "flux")
    sliced, whole = lora_files.modules_of("flux", naming="diffusers"), lora_files.modules_of("flux")
    entries = [
        write(tmp_path / "sliced.safetensors", sliced, 0, spelling="peft", alpha=None),
        write(tmp_path / "sliced too.safetensors", sliced, 1, spelling="peft", alpha=None),
        write(tmp_path / "whole.safetensors", whole, 2),
    ]
    ours = apply_loras(*pair, entries, skip_mismatches=False).model.patches
    theirs = core(pair, entries)[0].patches
    assert set(ours) == set(theirs)
    # Two weights of full width, because all of them would take gigabytes.
    for end in ("double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"):
        key = f"diffusion_model.{end}"
        start = comfy.utils.get_attr(pair[0].model, key).float()
        mine = comfy.lora.calculate_weight(ours[key], start.clone(), key)
        chain = comfy.lora.calculate_weight(theirs[key], start.clone(), key)
        assert len(theirs[key]) > len(entries)
        assert (mine - chain).abs().max() <= 1e-5 * (chain - start).abs().max()


def tiny_t5() -> Any:
    """A CLIP whose only text encoder is a T5 with one layer, built with ComfyUI's own classes."""
    small = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 1, "vocab_size": 50}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = comfy.text_encoders.sd3_clip.SD3ClipModel(
            clip_l=False,
            clip_g=False,
            t5=True,
            dtype_t5=torch.float32,
            device=CPU,
            dtype=torch.float32,
            model_options={"t5xxl_model_config": small},
        )
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad=False).copy_(
            torch.randn(parameter.shape, generator=generator) * 0.1
        )
    clip = comfy.sd.CLIP(no_init=True)
    clip.cond_stage_model = module
    clip.patcher = comfy.model_patcher.ModelPatcher(module, load_device=CPU, offload_device=CPU)
    clip.tokenizer, clip.layer_idx, clip.tokenizer_options = None, None, {}
    clip.use_clip_schedule = clip.apply_hooks_to_conds = None
    return clip


def test_t5_keys_take_the_clip_weight(folder: Path, tmp_path: Path) -> None:
    clip = tiny_t5()
    if (
        clip.cond_stage_model.t5xxl.transformer.encoder.block[0].layer[0].SelfAttention.q.weight.shape[1]
        != 32
    ):
        pytest.fail("ComfyUI no longer takes the small T5 that this test asks for")
    model, _ = load(folder, "sd3")
    stems = ["layer_0_SelfAttention_q", "layer_0_SelfAttention_o", "layer_1_DenseReluDense_wo"]
    shapes = {name: tensor.shape for name, tensor in clip.cond_stage_model.state_dict().items()}
    modules = {}
    for stem in stems:
        key = next(
            name
            for name in shapes
            if name.endswith(f"{stem.replace('layer_', 'layer.').replace('_', '.')}.weight")
        )
        modules[f"lora_te1_encoder_block_0_{stem}"] = lora_files.Module(tuple(shapes[key]), has_bias=False)
    entries = [write(tmp_path / f"{seed}.safetensors", modules, seed) for seed in range(2)]
    result = apply_loras(model, clip, entries, skip_mismatches=False)
    _, theirs = core((model, clip), entries)
    assert result.model is model
    assert_same_as_core(result.clip.patcher, theirs.patcher, set(theirs.patcher.patches))
    assert len(theirs.patcher.patches) == 3
