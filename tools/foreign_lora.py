"""Writes a small LoRA of another architecture, with SDXL's names and sizes, to show and test that it is rejected."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RANK = 4
# attn2 of SDXL's deepest blocks: width 1280, text width 2048 (the concatenated outputs of both text encoders).
MODULES = {
    f"lora_unet_{block}_transformer_blocks_{index}_attn2_{projection}": (2048 if kv else 1280, 1280)
    for block in ("input_blocks_7_1", "input_blocks_8_1", "middle_block_1", "output_blocks_0_1")
    for index in range(3)
    for projection, kv in (("to_q", False), ("to_k", True), ("to_v", True), ("to_out_0", False))
}


def write_sdxl_lora(path: Path) -> None:
    """Writes a kohya-style SDXL LoRA of about 0.9 MB, in fp16. The bytes are the same each time."""
    tensors: dict[str, tuple[tuple[int, ...], bytes]] = {}
    for module, (width_in, width_out) in MODULES.items():
        tensors[f"{module}.alpha"] = ((), _half([float(RANK)]))
        tensors[f"{module}.lora_down.weight"] = ((RANK, width_in), _half([0.01] * (RANK * width_in)))
        tensors[f"{module}.lora_up.weight"] = ((width_out, RANK), _half([0.01] * (width_out * RANK)))
    header: dict[str, object] = {
        "__metadata__": {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_module": "networks.lora"}
    }
    end = 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(
        struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())
    )
    temporary.replace(path)


def _half(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}e", *values)
