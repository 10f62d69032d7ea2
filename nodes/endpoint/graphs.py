"""Turns a request into a workflow in ComfyUI's API format, by the checkpoint's family.

Values are set in the nodes that use them. So ComfyUI keeps loaded models from one request to the next, and a user can
open and run the workflow in a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...lora_resolver import InvalidInput, format_lora_array
from ..request.samplers import sampling_for
from .own_workflows import OWN_FOLDER, Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...lora_resolver import ImageRequest
    from ..request.files import FoundFile

SIZE_STEP = 8


@dataclass(frozen=True)
class TextEncoders:
    """What a family's checkpoint may lack: ComfyUI's text encoder loader with its type and files, and the VAE."""

    loader: str
    files: tuple[tuple[str, str], ...]
    """(input of the loader, identifier)."""
    type: str = ""
    vae: str = ""


# Comfy-Org's repositories at Hugging Face, as ComfyUI's own examples name them.
_FLUX_TEXT = "huggingface:comfyanonymous/flux_text_encoders@main/"
_SD35 = "huggingface:Comfy-Org/stable-diffusion-3.5-fp8@main/text_encoders/"
TEXT_ENCODERS: Mapping[str, TextEncoders] = {
    "flux1": TextEncoders(
        "DualCLIPLoader",
        (
            ("clip_name1", f"{_FLUX_TEXT}clip_l.safetensors"),
            ("clip_name2", f"{_FLUX_TEXT}t5xxl_fp8_e4m3fn.safetensors"),
        ),
        "flux",
        "huggingface:Comfy-Org/Lumina_Image_2.0_Repackaged@main/split_files/vae/ae.safetensors",
    ),
    "sd3": TextEncoders(
        "TripleCLIPLoader",
        (
            ("clip_name1", f"{_SD35}clip_l.safetensors"),
            ("clip_name2", f"{_SD35}clip_g.safetensors"),
            ("clip_name3", f"{_SD35}t5xxl_fp8_e4m3fn.safetensors"),
        ),
    ),
}
"""Family → what Load Checkpoint doesn't find in a file with only the diffusion model. No other family has an entry."""

FAMILIES = {
    "sd1": "EmptyLatentImage",
    "sd2": "EmptyLatentImage",
    "sdxl": "EmptyLatentImage",
    "sd3": "EmptySD3LatentImage",
    "flux1": "EmptySD3LatentImage",
}
"""Family with a standard graph → the node that makes its empty latent."""

GUIDED = frozenset({"flux1"})
_CLIP_SKIPPED = {"sd1": -1, "sd2": -1, "sdxl": -2}
"""The last layer that the family uses of its text encoder."""
_LAST_LAYER = -24
"""The lowest value that CLIP Set Last Layer accepts."""


@dataclass
class Parts:
    """What a task's graph is made of."""

    asked: ImageRequest
    checkpoint: FoundFile
    family: str
    seed: int
    result: str
    """The UUID that the picture gets."""
    vae: str = ""
    text_encoders: Mapping[str, str] = field(default_factory=dict)
    """Input of the loader → file; empty if the checkpoint has its own."""
    seed_image: str = ""
    mask_image: str = ""
    prompts: tuple[str, str] = ("", "")
    """Positive and negative, with the embeddings inserted."""


def standard_graph(parts: Parts) -> Workflow:
    """The usual graph of the family. Raises InvalidInput for a family that has none."""
    if parts.family not in FAMILIES:
        raise InvalidInput(
            f"There is no standard graph for {parts.checkpoint.name}"
            + (f" ({parts.family})" if parts.family else ", whose model family is unknown"),
            code="unsupportedModel",
            parameter="model",
            remedy="Save your own workflow with a Runware Request node, in API format, as "
            f"user/{OWN_FOLDER}/{parts.family or 'name-of-the-model'}.json.",
        )
    asked = parts.asked
    made: Workflow = {}
    model, clip, vae = _loaders(made, parts)
    if parts.vae:
        made["vae"] = _node("VAELoader", vae_name=parts.vae)
        vae = ["vae", 0]
    made["apply"] = _node(
        "AirLoraApply",
        model=model,
        clip=clip,
        lora=format_lora_array(asked.lora),
        on_mismatch="error",
        expert="both",
    )
    model, clip = ["apply", 0], ["apply", 1]
    if asked.clip_skip and parts.family in _CLIP_SKIPPED:
        layer = max(_CLIP_SKIPPED[parts.family] - asked.clip_skip, _LAST_LAYER)
        made["clip_skip"] = _node("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=layer)
        clip = ["clip_skip", 0]
    made["positive"] = _node("CLIPTextEncode", clip=clip, text=parts.prompts[0])
    made["negative"] = _node("CLIPTextEncode", clip=clip, text=parts.prompts[1])
    positive, cfg = ["positive", 0], asked.cfg_scale
    if parts.family in GUIDED:
        made["guidance"] = _node("FluxGuidance", conditioning=positive, guidance=cfg)
        positive, cfg = ["guidance", 0], 1.0
    sampling = sampling_for(asked.scheduler, (parts.family,))
    made["sampler"] = _node(
        "KSampler",
        model=model,
        positive=positive,
        negative=["negative", 0],
        latent_image=_latent(made, parts, vae),
        seed=parts.seed,
        steps=asked.steps,
        cfg=cfg,
        sampler_name=sampling.sampler,
        scheduler=sampling.scheduler,
        denoise=asked.strength if parts.seed_image and asked.strength is not None else 1.0,
    )
    made["decode"] = _node("VAEDecode", samples=["sampler", 0], vae=vae)
    made["save"] = _node("SaveImage", images=["decode", 0], filename_prefix=prefix_of(parts.result))
    return made


def prefix_of(result: str) -> str:
    """The prefix for Save Image, which determines where the picture of this UUID is in the output folder."""
    return f"air_lora_v1/{result}"


def _loaders(made: Workflow, parts: Parts) -> tuple[list[Any], list[Any], list[Any]]:
    if not parts.text_encoders:
        made["checkpoint"] = _node("CheckpointLoaderSimple", ckpt_name=parts.checkpoint.name)
        return ["checkpoint", 0], ["checkpoint", 1], ["checkpoint", 2]
    encoders = TEXT_ENCODERS[parts.family]
    if parts.checkpoint.folder == "diffusion_models":
        made["checkpoint"] = _node("UNETLoader", unet_name=parts.checkpoint.name, weight_dtype="default")
    else:
        made["checkpoint"] = _node("CheckpointLoaderSimple", ckpt_name=parts.checkpoint.name)
    kind = {"type": encoders.type} if encoders.type else {}
    made["text_encoders"] = _node(encoders.loader, **parts.text_encoders, **kind)
    return ["checkpoint", 0], ["text_encoders", 0], ["checkpoint", 2]


def _latent(made: Workflow, parts: Parts, vae: list[Any]) -> list[Any]:
    asked = parts.asked
    width, height = (size // SIZE_STEP * SIZE_STEP for size in (asked.width, asked.height))
    if not parts.seed_image:
        made["latent"] = _node(FAMILIES[parts.family], width=width, height=height, batch_size=1)
        return ["latent", 0]
    made["seed_image"] = _node("LoadImage", image=parts.seed_image)
    scaled: dict[str, Any] = {"upscale_method": "lanczos", "width": width, "height": height, "crop": "center"}
    made["scaled"] = _node("ImageScale", image=["seed_image", 0], **scaled)
    made["latent"] = _node("VAEEncode", pixels=["scaled", 0], vae=vae)
    if not parts.mask_image:
        return ["latent", 0]
    made["mask_image"] = _node("LoadImage", image=parts.mask_image)
    made["scaled_mask"] = _node("ImageScale", image=["mask_image", 0], **scaled)
    made["mask"] = _node("ImageToMask", image=["scaled_mask", 0], channel="red")
    made["masked"] = _node("SetLatentNoiseMask", samples=["latent", 0], mask=["mask", 0])
    return ["masked", 0]


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
