"""Made headers of LoRA files, and the families that share their layers."""

from __future__ import annotations

from lora_resolver import SafetensorsHeader, TensorInfo

FLUX_LIKE = ("flux1", "chroma", "hunyuan_video")
HUNYUAN = ("hunyuan_video", "hunyuan_image", "hunyuan_image_refiner")
FLUX_BY_NAME = ("flux1", "chroma", "longcat_image", "ovis_image", "flux2", "hunyuan3d2")
CUT_FLUX = ("longcat_image", "ovis_image")  # FLUX.1's blocks, but fewer
QWEN = ("qwen_image", "mage_flow")  # likewise
QKV = ("lora_unet_double_blocks_6_img_attn_qkv", 3072, 9216)


def header(metadata: dict[str, str] | None = None, /, **shapes: tuple[int, ...]) -> SafetensorsHeader:
    tensors = {name: TensorInfo("F16", shape, 0, 0) for name, shape in shapes.items()}
    return SafetensorsHeader(tensors, metadata or {}, 0, 0)


def lora(*modules: tuple[str, int, int], metadata: dict[str, str] | None = None) -> SafetensorsHeader:
    """A LoRA of rank 8 on modules given as (name with prefix, inputs, outputs), in PEFT's format."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in modules:
        shapes[f"{name}.lora_A.weight"] = (8, inputs)
        shapes[f"{name}.lora_B.weight"] = (outputs, 8)
    return header(metadata, **shapes)


def blocks(pattern: str, count: int, inputs: int, outputs: int) -> list[tuple[str, int, int]]:
    return [(pattern.format(number), inputs, outputs) for number in range(count)]
