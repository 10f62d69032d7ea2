"""Checkpoints of real architectures that are small enough to make when a test needs one.

ComfyUI's own loaders take them and its sampler runs them on a CPU in seconds. The weights are random (the pictures
are coloured squares), but prompts, seeds and LoRAs change what is drawn. Files are laid out as in ComfyUI's
`models` folder:

    FOLDER/checkpoints/tiny_sd15.ckpt                  Load Checkpoint
    FOLDER/diffusion_models/tiny_wan.safetensors       Load Diffusion Model
    FOLDER/text_encoders/tiny_clip_l.pt                Load CLIP
    FOLDER/vae/tiny_vae16.safetensors                  Load VAE

Needs torch and safetensors, not ComfyUI.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import text_encoders, transformers, unet, vae, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import torch

__all__ = ["CHECKPOINTS", "DEFAULT", "TinyCheckpoint", "make_checkpoints"]

Tensors = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class TinyCheckpoint:
    """One file: where it lies under the models folder, what it is, and what makes its tensors."""

    file: str
    about: str
    tensors: Callable[[], Tensors]
    metadata: Mapping[str, str] = field(default_factory=dict)
    heavy: bool = False
    """Small on disk, but a gigabyte or more in memory; made only when named."""

    @property
    def name(self) -> str:
        """As ComfyUI's loader nodes list it."""
        return Path(self.file).name


def _sd15() -> Tensors:
    import torch

    half = torch.float16
    return {
        **unet.unet_tensors(unet.SD15, seed=15, dtype=half),
        **text_encoders.text_encoder_tensors(
            text_encoders.clip_l_shapes(), "cond_stage_model.transformer.", seed=1, dtype=half
        ),
        **vae.vae_tensors(4, "first_stage_model.", dtype=half),
    }


def _sdxl(layout: unet.UNetLayout) -> Tensors:
    import torch

    half = torch.float16
    return {
        **unet.unet_tensors(layout, seed=10, dtype=half),
        **text_encoders.text_encoder_tensors(
            text_encoders.clip_l_shapes(), "conditioner.embedders.0.transformer.", seed=1, dtype=half
        ),
        **text_encoders.text_encoder_tensors(
            text_encoders.clip_g_shapes(), "conditioner.embedders.1.model.", seed=2, dtype=half
        ),
        **vae.vae_tensors(4, "first_stage_model.", dtype=half),
    }


def _wan(seed: int) -> Tensors:
    import torch

    return weights.fill(
        transformers.wan_shapes(), seed=seed, dtype=torch.float16, gains=transformers.WAN_GAINS
    )


def _clip_l() -> Tensors:
    import torch

    return text_encoders.text_encoder_tensors(text_encoders.clip_l_shapes(), "", seed=1, dtype=torch.float16)


def _vae16() -> Tensors:
    import torch

    return vae.vae_tensors(16, "", dtype=torch.float16)


CHECKPOINTS: Mapping[str, TinyCheckpoint] = {
    "sd15": TinyCheckpoint("checkpoints/tiny_sd15.ckpt", "SD 1.5 with CLIP-L and VAE", _sd15),
    "sdxl": TinyCheckpoint(
        "checkpoints/tiny_sdxl.ckpt",
        "SDXL family (depths of Segmind Vega) with CLIP-L, CLIP-G and VAE",
        lambda: _sdxl(unet.SDXL_VEGA),
    ),
    "sdxl_full": TinyCheckpoint(
        "checkpoints/tiny_sdxl_full.ckpt",
        "SDXL at its own depths with CLIP-L, CLIP-G and VAE",
        lambda: _sdxl(unet.SDXL_FULL),
        heavy=True,
    ),
    "wan": TinyCheckpoint(
        "diffusion_models/tiny_wan.safetensors", "Wan 2.1 text to video", lambda: _wan(seed=21)
    ),
    "wan_low": TinyCheckpoint(
        "diffusion_models/tiny_wan_low.safetensors",
        "its second expert: the same shapes, other weights",
        lambda: _wan(seed=22),
    ),
    "clip_l": TinyCheckpoint(
        "text_encoders/tiny_clip_l.pt", "CLIP-L; as type sd3 it makes prompts for Wan", _clip_l
    ),
    "vae16": TinyCheckpoint(
        "vae/tiny_vae16.safetensors", "a VAE for latents of 16 channels; of a video, the first frame", _vae16
    ),
}

DEFAULT = tuple(name for name, checkpoint in CHECKPOINTS.items() if not checkpoint.heavy)


def make_checkpoints(folder: Path | str, names: Iterable[str] = DEFAULT) -> dict[str, Path]:
    """Writes those that are missing and gives the path of each; a file that is there is not touched.

    `names` are keys of `CHECKPOINTS`; an unknown one is a KeyError. The same call gives the same bytes.
    """
    paths = {}
    for name in names:
        checkpoint = CHECKPOINTS[name]
        paths[name] = Path(folder) / checkpoint.file
        if not paths[name].exists():
            weights.write(paths[name], checkpoint.tensors(), checkpoint.metadata)
    return paths
