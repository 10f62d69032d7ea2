"""What peft and diffusers call the tensors of a LoRA, where ComfyUI's key maps and adapters have another name for it.

- peft puts `base_model.model.` before a module's name, diffusers `unet.`, `transformer.` or nothing. ComfyUI's key
  maps have attention layers of a UNet as `…attn1.processor.to_q` alone, the spelling of diffusers before 0.22.
- transformers 5 left `text_model.` out of CLIP's names, and so do LoRAs for it.
- peft's DoRA calls `lora_magnitude_vector` what LyCORIS and ComfyUI call `dora_scale`.
- diffusers writes no alpha tensors: they are in the metadata, see `alphas_of_peft`.

Sources: peft `utils/save_and_load.py`, `tuners/lora/dora.py`; diffusers `loaders/lora_base.py`, `loaders/peft.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from ...lora_resolver import alphas_of_peft

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

# What follows a module's name in a file by peft or diffusers.
_TENSOR = re.compile(
    r"(?P<stem>.+?)(?P<role>[._]lora\.(?:up|down)\.weight|\.lora_linear_layer\.(?:up|down)\.weight"
    r"|\.lora_(?:A|B)(?:\.default)?(?:\.weight)?|\.lora_(?:up|down|mid)\.weight|\.alpha|\.dora_scale)"
)
_DOWN = re.compile(r"(?P<stem>.+?)(?:\.lora_A(?:\.default)?(?:\.weight)?|[._]lora\.down\.weight)")
_MAGNITUDE = re.compile(r"(?P<stem>.+?)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?")
_PREFIX = re.compile(
    r"(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|unet\.)+"
)
_CLIP = re.compile(
    r"(?:base_model\.model\.)?(?P<which>text_encoder(?:_\d)?)\.(?:base_model\.model\.)?(?:text_model\.)?"
    r"(?P<layer>encoder\.layers\..+)"
)


def name_in(key_map: Container[str], name: str) -> str | None:
    """The tensor's name under a stem of this key map, for a name that has none there itself; None where there is none.

    A stem that comes out is a weight's of the loaded model; whether the shapes agree is for the fit check to see.
    """
    match = _TENSOR.fullmatch(name)
    if match is None:
        return None
    for stem in _other_spellings(match["stem"]):
        if stem in key_map:
            return stem + match["role"]
    return None


def _other_spellings(stem: str) -> Iterator[str]:
    clip = _CLIP.fullmatch(stem)
    if clip is not None:
        yield f"{clip['which']}.text_model.{clip['layer']}"
        return
    bare = _PREFIX.sub("", stem, count=1) if _PREFIX.match(stem) else stem
    yield f"diffusion_model.{bare}"
    if stem.startswith(("diffusion_model.", "model.diffusion_model.")):
        return  # the original names: diffusers' of another family may be spelled like them
    yield f"transformer.{bare}"
    old = bare.replace(".to_", ".processor.to_")
    yield "unet." + (old.removesuffix(".0") if old.endswith(".to_out.0") else old)


def read_as_adapters(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """The tensors with peft's magnitudes and alphas as ComfyUI's adapters read them.

    Raises VerificationFailed where the metadata gives alphas in a way that this pack does not read.
    """
    alpha_of = alphas_of_peft(metadata)
    renamed = dict(tensors)
    for name, tensor in tensors.items():
        # Looked for as plain text first: a kohya file has thousands of names and none of these.
        if ".lora_magnitude_vector" in name:
            del renamed[name]
            own_name, own_tensor = _renamed((name, tensor))
            renamed[own_name] = own_tensor
        if ".lora_A" not in name and "lora.down.weight" not in name:
            continue
        down = _DOWN.fullmatch(name)
        if down is None or f"{down['stem']}.alpha" in tensors or not tensor.dim():
            continue
        alpha = alpha_of(down["stem"], tensor.shape[0])
        if alpha is not None:
            renamed[f"{down['stem']}.alpha"] = torch.tensor(alpha)
    return renamed


def _renamed(item: tuple[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    """(outputs,) of a linear layer and (1, outputs, 1, 1) of a convolution become (outputs, 1[, 1, 1])."""
    name, tensor = item
    match = _MAGNITUDE.fullmatch(name)
    if match is None:
        return item
    return f"{match['stem']}.dora_scale", tensor.reshape(-1, *[1] * max(tensor.dim() - 1, 1))
