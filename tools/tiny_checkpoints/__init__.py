"""Checkpoints of real architectures that are small enough to create when a test needs them.

ComfyUI's own loaders read them, and its sampler runs them on a CPU in seconds. The weights are random (the pictures
are coloured squares), but prompts, seeds, and LoRAs change the result. Files are arranged as in ComfyUI's
`models` folder:

    FOLDER/checkpoints/tiny_sd15.ckpt                  Load Checkpoint
    FOLDER/diffusion_models/tiny_wan.safetensors       Load Diffusion Model
    FOLDER/text_encoders/tiny_clip_l.pt                Load CLIP
    FOLDER/vae/tiny_video_vae.pt                       Load VAE

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
    """One file: its path in the models folder, what it is, and the function that creates its tensors."""

    file: str
    about: str
    tensors: Callable[[], Tensors]
    metadata: Mapping[str, str] = field(default_factory=dict)
    heavy: bool = False
    """Small on disk, but a gigabyte or more in memory. Created only when named."""

    @property
    def name(self) -> str:
        """The name in ComfyUI's loader nodes."""
        return Path(self.file).name


def _clip_l(prefix: str) -> Tensors:
    import torch

    return text_encoders.text_encoder_tensors(
        text_encoders.clip_l_shapes(), prefix, seed=1, dtype=torch.float16
    )


def _sd15() -> Tensors:
    import torch

    return {
        **unet.unet_tensors(unet.SD15, seed=15, dtype=torch.float16),
        **_clip_l("cond_stage_model.transformer."),
        **vae.vae_tensors(4, "first_stage_model.", dtype=torch.float16),
    }


def _sdxl(layout: unet.UNetLayout) -> Tensors:
    import torch

    return {
        **unet.unet_tensors(layout, seed=10, dtype=torch.float16),
        **_clip_l("conditioner.embedders.0.transformer."),
        **text_encoders.text_encoder_tensors(
            text_encoders.clip_g_shapes(), "conditioner.embedders.1.model.", seed=2, dtype=torch.float16
        ),
        **vae.vae_tensors(4, "first_stage_model.", dtype=torch.float16),
    }


def _sd3() -> Tensors:
    import torch

    return {
        **_transformer(transformers.sd3_shapes(), seed=3, prefix="model.diffusion_model."),
        **_clip_l("text_encoders.clip_l.transformer."),
        **vae.vae_tensors(16, "first_stage_model.", dtype=torch.float16),
    }


def _transformer(shapes: weights.Shapes, *, seed: int, prefix: str = "") -> Tensors:
    import torch

    tensors = weights.fill(shapes, seed=seed, dtype=torch.bfloat16, gains=transformers.GAINS)
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _text_encoder_alone() -> Tensors:
    import torch

    # The separate file also has the projection of the pooled vector, which checkpoints leave out.
    shapes = {**text_encoders.clip_l_shapes(), "text_projection.weight": (768, 768)}
    return text_encoders.text_encoder_tensors(shapes, "", seed=1, dtype=torch.float16)


def _picture_vae() -> Tensors:
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
    "sd3": TinyCheckpoint("checkpoints/tiny_sd3.ckpt", "SD3 with CLIP-L and VAE", _sd3),
    "wan": TinyCheckpoint(
        "diffusion_models/tiny_wan.safetensors",
        "Wan 2.1 text to video",
        lambda: _transformer(transformers.wan_shapes(), seed=21),
    ),
    "wan_low": TinyCheckpoint(
        "diffusion_models/tiny_wan_low.safetensors",
        "its second expert: the same shapes, other weights",
        lambda: _transformer(transformers.wan_shapes(), seed=22),
    ),
    "wan_1_3b": TinyCheckpoint(
        "diffusion_models/tiny_wan_1_3b.pt",
        "one block of Wan 2.1 1.3B at its real width",
        lambda: _transformer(transformers.wan_shapes(1536, 8960, blocks=1), seed=23),
    ),
    "hunyuan_video": TinyCheckpoint(
        "diffusion_models/tiny_hunyuan_video.safetensors",
        "HunyuanVideo",
        lambda: _transformer(transformers.hunyuan_video_shapes(), seed=24),
    ),
    "ltxv": TinyCheckpoint(
        "diffusion_models/tiny_ltxv.safetensors",
        "LTX-Video",
        lambda: _transformer(transformers.ltxv_shapes(), seed=25),
        metadata=transformers.LTXV_METADATA,
    ),
    "flux": TinyCheckpoint(
        "diffusion_models/tiny_flux.pt",
        "FLUX.1 dev at its real width, one block of each kind",
        lambda: _transformer(transformers.flux_shapes(), seed=26),
        heavy=True,
    ),
    "clip_l": TinyCheckpoint(
        "text_encoders/tiny_clip_l.pt",
        "CLIP-L; as type sd3 for Wan, as type stable_diffusion for FLUX and HunyuanVideo",
        _text_encoder_alone,
    ),
    "vae": TinyCheckpoint("vae/tiny_vae.safetensors", "VAE for FLUX", _picture_vae),
    "video_vae": TinyCheckpoint(
        "vae/tiny_video_vae.pt", "VAE for Wan and HunyuanVideo", lambda: vae.video_vae_tensors(16)
    ),
    "ltxv_vae": TinyCheckpoint(
        "vae/tiny_ltxv_vae.pt", "VAE for LTX-Video", lambda: vae.video_vae_tensors(128)
    ),
}

DEFAULT = tuple(name for name, checkpoint in CHECKPOINTS.items() if not checkpoint.heavy)


def make_checkpoints(folder: Path | str, names: Iterable[str] = DEFAULT) -> dict[str, Path]:
    """Writes those that are missing and returns the path of each. Doesn't change existing files.

    `names` are keys of `CHECKPOINTS`. Raises KeyError for an unknown one. The same call gives the same bytes.
    """
    paths = {}
    for name in names:
        checkpoint = CHECKPOINTS[name]
        paths[name] = Path(folder) / checkpoint.file
        if not paths[name].exists():
            weights.write(paths[name], checkpoint.tensors(), checkpoint.metadata)
    return paths
