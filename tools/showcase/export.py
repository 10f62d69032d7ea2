"""Writes the trained weights as files that ComfyUI loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch.nn import functional

from .base_model import HIDDEN_WIDTH, PATCH_SIDE
from .dimensions import LATENT_CHANNELS, LIVE_CHANNELS, PICTURE_SIDE
from .lora_layers import LORA_RANK, LoraFactors
from .text_encoder import encoder_state
from .vae import vae_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .work_folder import WorkFolder

_ARCHITECTURE = "stable-diffusion-3-tiny-showcase"
"""Indicates SD3's layout and key names, but not a published SD3 model."""

_SD3_POOLED_TEXT_WIDTH = 2048
"""The concatenated pooled vectors of CLIP-L and CLIP-G. There is no CLIP-G here."""

_SD3_CONTEXT_WIDTH = 4096

_MODEL_METADATA = {
    "modelspec.sai_model_spec": "1.0.0",
    "modelspec.architecture": _ARCHITECTURE,
    "modelspec.title": "Tiny Showcase",
    "modelspec.resolution": f"{PICTURE_SIDE}x{PICTURE_SIDE}",
    "modelspec.description": "SD3-family MMDiT trained from nothing on procedurally drawn sprites;"
    " hand-written TAESD-shaped VAE; no text encoder inside",
    "modelspec.prediction_type": "rectified flow",
}


def export(work: WorkFolder, out: Path) -> None:
    """Writes the checkpoint, its parts as separate files, and the LoRAs if they are trained.

    tiny-showcase-all.ckpt       model, VAE, and text encoder; a torch file, because only these can store the
                                 encoder's strided views
    tiny-showcase.safetensors    model and VAE, some tensors in 8 bits
    tiny-showcase-clip-l.pt      text encoder
    loras/tiny_<style>.safetensors
    """
    state = {**model_state(torch.load(work.base_weights, weights_only=True)), **vae_state()}
    save_file(_in_eight_bits(state), out / "tiny-showcase.safetensors", _MODEL_METADATA)
    torch.save(encoder_state(""), out / "tiny-showcase-clip-l.pt")
    whole = {**_zeros_as_views(state), **encoder_state("text_encoders.clip_l.transformer.")}
    torch.save({"state_dict": whole}, out / "tiny-showcase-all.ckpt")
    if work.lora_factors.exists():
        _export_loras(work, out / "loras")


def model_state(trained: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the state of an MMDiT in float16, with ComfyUI's names and SD3's full shapes."""
    full = dict(trained)
    embedder = torch.zeros(HIDDEN_WIDTH, LATENT_CHANNELS, PATCH_SIDE, PATCH_SIDE)
    embedder[:, :LIVE_CHANNELS] = full.pop("x_embedder.weight").view(
        HIDDEN_WIDTH, LIVE_CHANNELS, PATCH_SIDE, PATCH_SIDE
    )
    full["x_embedder.proj.weight"] = embedder
    full["x_embedder.proj.bias"] = full.pop("x_embedder.bias")
    text_weight = full["y_embedder.mlp.0.weight"]
    missing_columns = _SD3_POOLED_TEXT_WIDTH - text_weight.shape[1]
    full["y_embedder.mlp.0.weight"] = functional.pad(text_weight, (0, missing_columns))
    full["context_embedder.weight"] = torch.zeros(HIDDEN_WIDTH, _SD3_CONTEXT_WIDTH)
    full["context_embedder.bias"] = full.pop("context_token")
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        full[name] = _with_unused_channels(full[name])
    return {f"model.diffusion_model.{name}": tensor.half().contiguous() for name, tensor in full.items()}


def lora_state(factors: Mapping[str, LoraFactors]) -> dict[str, torch.Tensor]:
    """Returns one LoRA (layer name to factors) in float16, with the key names of kohya's sd-scripts."""
    state = {}
    for layer, (down, up) in factors.items():
        if layer == "final_layer.linear":
            up = _with_unused_channels(up)
        key = f"lora_unet_{layer.replace('.', '_')}"
        state[f"{key}.lora_down.weight"] = down.half().contiguous()
        state[f"{key}.lora_up.weight"] = up.half().contiguous()
        state[f"{key}.alpha"] = torch.tensor(float(LORA_RANK)).half()  # alpha = rank: no scaling
    return state


def _export_loras(work: WorkFolder, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    steps_of = {}
    if work.lora_summary.exists():
        steps_of = json.loads(work.lora_summary.read_text(encoding="utf-8"))["steps"]
    for style, factors in torch.load(work.lora_factors, weights_only=True).items():
        metadata = _lora_metadata(style, steps_of.get(style, 0))
        save_file(lora_state(factors), folder / f"tiny_{style}.safetensors", metadata)


def _lora_metadata(style: str, steps: int) -> dict[str, str]:
    """Metadata with the keys of kohya's sd-scripts (ss_…) and of the modelspec standard."""
    return {
        "ss_v2": "False",
        "ss_base_model_version": "sd3-tiny-showcase",
        "ss_network_module": "networks.lora_sd3",
        "ss_network_dim": str(LORA_RANK),
        "ss_network_alpha": str(float(LORA_RANK)),
        "ss_output_name": f"tiny_{style}",
        "ss_sd_model_name": "tiny-showcase.safetensors",
        "ss_resolution": f"({PICTURE_SIDE}, {PICTURE_SIDE})",
        "ss_steps": str(steps),
        "ss_mixed_precision": "no",
        "ss_training_comment": "trained on procedurally drawn sprites; works with tiny-showcase only",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{_ARCHITECTURE}/lora",
        "modelspec.title": f"Tiny Showcase: {style}",
    }


def _with_unused_channels(rows: torch.Tensor) -> torch.Tensor:
    """Rows of the last layer, (48, ...) -> (256, ...): row, column, channel of a patch. Unused channels are zero."""
    positions = PATCH_SIDE**2
    full = torch.zeros(positions, LATENT_CHANNELS, *rows.shape[1:])
    full[:, :LIVE_CHANNELS] = rows.view(positions, LIVE_CHANNELS, *rows.shape[1:])
    return full.flatten(0, 1)


def _in_eight_bits(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Converts large tensors to float8 to save space. ComfyUI widens them when it loads the file.

    This is exact for the hand-written tensors, which are mostly zero. It rounds the context half of the blocks, which
    only produces one token, and the prompt embedder. It changes the model's output by about 1.4 % at most.
    """
    packed = {}
    for name, tensor in state.items():
        rounded = tensor.to(torch.float8_e4m3fn)
        exact = torch.equal(rounded.half(), tensor)
        may_round = "context_block" in name or "y_embedder" in name
        packed[name] = rounded if tensor.numel() > 4096 and (exact or may_round) else tensor.contiguous()
    return packed


def _zeros_as_views(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replaces all-zero tensors with views of a single zero, so that a torch file stores only one number for each."""
    return {
        name: tensor
        if tensor.numel() == 1 or tensor.any()
        else torch.zeros(1, dtype=tensor.dtype).expand(tensor.shape)
        for name, tensor in state.items()
    }
