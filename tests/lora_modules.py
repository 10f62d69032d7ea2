"""The modules of the tiny checkpoints, with their names in LoRA files.

`modules_of("sd15")` uses the names of kohya's trainer. Other trainers are other `naming`s. ComfyUI's key maps
(`comfy.lora.model_lora_keys_unet` and `_clip`) know every name here for that checkpoint.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tools.tiny_checkpoints import transformers, unet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tools.tiny_checkpoints.weights import Shapes


class Module(NamedTuple):
    """One layer with weights. `shape` is (out, in) or (out, in, height, width), or (width,) for a norm."""

    shape: tuple[int, ...]
    has_bias: bool


Modules = dict[str, Module]

UNETS: Mapping[str, unet.UNetLayout] = {
    "sd15": unet.SD15,
    "sdxl": unet.SDXL_VEGA,
    "sdxl_full": unet.SDXL_FULL,
}
TRANSFORMERS: Mapping[str, Callable[[], Shapes]] = {
    "wan": transformers.wan_shapes,
    "wan_low": transformers.wan_shapes,
    "wan_1_3b": lambda: transformers.wan_shapes(1536, 8960, blocks=1),
    "sd3": transformers.sd3_shapes,
    "hunyuan_video": transformers.hunyuan_video_shapes,
    "ltxv": transformers.ltxv_shapes,
    "flux": transformers.flux_shapes,
}
# (kohya's prefix, diffusers' prefix, width, layers)
TEXT_ENCODERS: Mapping[str, Mapping[str, tuple[str, str, int, int]]] = {
    "sd15": {"te1": ("lora_te", "text_encoder", 768, 12)},
    "sdxl": {"te1": ("lora_te1", "text_encoder", 768, 12), "te2": ("lora_te2", "text_encoder_2", 1280, 32)},
    "sd3": {"te1": ("lora_te1", "text_encoder", 768, 12)},
}
TEXT_ENCODERS = {**TEXT_ENCODERS, "sdxl_full": TEXT_ENCODERS["sdxl"]}


def modules_of(
    checkpoint: str, *, naming: str = "", parts: tuple[str, ...] = (), only: str = "usual"
) -> Modules:
    """The modules of a tiny checkpoint by their LoRA names.

    `naming`: "kohya" (the default if there is a UNet: `lora_unet_…`, for SD 1.5 with diffusers' block names and for
    SDXL with the original ones, as kohya writes them), "kohya_diffusers" (diffusers' block names also for SDXL),
    "diffusers" (`unet.down_blocks.…`, only attention layers; for SD3 and FLUX `transformer.…`, where several
    modules share one weight of the model), or "generic" (the default otherwise: `diffusion_model.…`, the original
    names).
    `parts`: of "unet", "te1", "te2"; () means all that the checkpoint has.
    `only`: "usual" (the trainers' default: attention and feed-forward layers), "all" (every linear layer and
    convolution), "norms", or a pattern to search in the original name.
    """
    naming = naming or ("kohya" if checkpoint in UNETS else "generic")
    encoders = TEXT_ENCODERS.get(checkpoint, {})
    parts = parts or ("unet", *encoders)
    found: Modules = {}
    if "unet" in parts:
        for name, module in _network(checkpoint).items():
            if _is_wanted(name, module, only):
                found |= _spell(checkpoint, name, module, naming)
    for part, (kohya, diffusers, width, layers) in encoders.items():
        if part not in parts or only == "norms":
            continue
        for name, module in _clip(width, layers).items():
            prefix = f"{diffusers}.text_model." if naming == "diffusers" else f"{kohya}_text_model_"
            found[prefix + (name if naming == "diffusers" else name.replace(".", "_"))] = module
    if not found:
        raise ValueError(f"{checkpoint} has no module for naming={naming!r}, parts={parts!r}, only={only!r}")
    return found


def _network(checkpoint: str) -> Modules:
    """All modules of the diffusion model by their original names."""
    layout = UNETS.get(checkpoint)
    shapes = unet.unet_shapes(layout) if layout else TRANSFORMERS[checkpoint]()
    stem = len(".weight")
    return {
        name[:-stem]: Module(shape, f"{name[:-stem]}.bias" in shapes)
        for name, shape in shapes.items()
        if name.endswith(".weight")
    }


_USUAL = re.compile(r"blocks?\..*(attn|ff|proj|qkv|mlp|linear)")


def _is_wanted(name: str, module: Module, only: str) -> bool:
    is_norm = len(module.shape) == 1
    if is_norm or only == "norms":
        return is_norm and only == "norms"
    if only == "all":
        return True
    return re.search(_USUAL if only == "usual" else only, name) is not None


def _spell(checkpoint: str, name: str, module: Module, naming: str) -> Modules:
    """The LoRA's modules for an original one. Empty if the trainer has no name for it."""
    layout = UNETS.get(checkpoint)
    if naming == "generic":
        return {f"diffusion_model.{name}": module}
    if naming == "kohya" and (layout is None or layout.pooled_width is not None):
        return {f"lora_unet_{name.replace('.', '_')}": module}
    if layout is None:
        return (
            _diffusers_parts(name, module) if naming == "diffusers" and checkpoint in ("sd3", "flux") else {}
        )
    renamed = diffusers_name(layout, name)
    if naming in ("kohya", "kohya_diffusers"):
        return {f"lora_unet_{renamed.replace('.', '_')}": module}
    if ".attn" not in renamed:
        return {}
    return {"unet." + renamed.replace(".to_", ".processor.to_").removesuffix(".0"): module}


_DIFFUSERS_PARTS = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.mlp.fc1": ("ff.net.0.proj",),
    "x_block.mlp.fc2": ("ff.net.2",),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block.attn.proj": ("attn.to_add_out",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",),
    "context_block.mlp.fc2": ("ff_context.net.2",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}


def _diffusers_parts(name: str, module: Module) -> Modules:
    """SD3's and FLUX's modules in diffusers, which separates queries, keys, values, and the feed-forward half."""
    kind, number, rest = [*name.split(".", 2), "", ""][:3]
    parts = _DIFFUSERS_PARTS.get(rest)
    if parts is None:
        return {}
    block = "single_transformer_blocks" if kind == "single_blocks" else "transformer_blocks"
    rows, inputs = module.shape[0], module.shape[1]
    # Each takes as many rows as it has inputs. The last takes the remaining rows.
    sizes = [inputs] * (len(parts) - 1) + [rows - inputs * (len(parts) - 1)]
    return {
        f"transformer.{block}.{number}.{part}": module._replace(shape=(size, inputs))
        for part, size in zip(parts, sizes)
    }


_RESIDUAL_NAMES = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_OUTER_NAMES = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def diffusers_name(layout: unet.UNetLayout, name: str) -> str:
    """Converts `input_blocks.1.1.proj_in` to `down_blocks.0.attentions.0.proj_in`, and so on."""
    if name in _OUTER_NAMES:
        return _OUTER_NAMES[name]
    if name.startswith("middle_block."):
        _, place, rest = name.split(".", 2)
        if place == "1":
            return f"mid_block.attentions.0.{rest}"
        return f"mid_block.resnets.{int(place) // 2}.{_RESIDUAL_NAMES[rest]}"
    side, number, kind, rest = name.split(".", 3)
    is_down = side == "input_blocks"
    per_level = layout.blocks_per_level + 1
    # On the way down, the first block is the input convolution, and each level ends with its downsampling block.
    level, index = divmod(int(number) - is_down, per_level)
    block = f"{'down' if is_down else 'up'}_blocks.{level}"
    if rest == "op":
        return f"{block}.downsamplers.0.conv"
    if rest == "conv":
        return f"{block}.upsamplers.0.conv"
    if kind == "0":
        return f"{block}.resnets.{index}.{_RESIDUAL_NAMES[rest]}"
    return f"{block}.attentions.{index}.{rest}"


def _clip(width: int, layers: int) -> Modules:
    """The linear layers of a CLIP text encoder, under `text_model`."""
    shapes = {
        **{f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "out")},
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
    return {
        f"encoder.layers.{layer}.{name}": Module(shape, True)
        for layer in range(layers)
        for name, shape in shapes.items()
    }
