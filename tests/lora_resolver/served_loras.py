"""Files to serve, and a configuration with small pieces."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from lora_resolver.config import ResolverConfig

if TYPE_CHECKING:
    from pathlib import Path


def write_safetensors(path: Path, data_bytes: int, *, seed: int = 1) -> Path:
    """Writes a valid .safetensors file of one LoRA module, with this number of random bytes as its tensors."""
    down, up = data_bytes // 4 * 2, data_bytes // 4 * 2
    module = "lora_unet_input_blocks_4_1_proj_in"
    header = {
        "__metadata__": {"ss_network_module": "networks.lora"},
        f"{module}.lora_down.weight": {"dtype": "F16", "shape": [1, down // 2], "data_offsets": [0, down]},
        f"{module}.lora_up.weight": {
            "dtype": "F16",
            "shape": [up // 2, 1],
            "data_offsets": [down, down + up],
        },
    }
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + hashlib.shake_256(bytes([seed])).digest(down + up))
    return path


def quick_config(download_dir: Path, **changes: Any) -> ResolverConfig:
    """Small pieces and short pauses, so that a few hundred kilobytes and a second can replace gigabytes and minutes.

    The time-outs are long, because a busy machine answers late. Tests of time-outs set their own.
    """
    settings: dict[str, Any] = {
        "state_dir": download_dir.with_name("state"),
        "connect_timeout": 30.0,
        "read_timeout": 30.0,
        "retry_delay": 0.01,
        "tries": 3,
        "min_piece_bytes": 40_000,
        "min_bytes_per_second": 50_000,
    }
    return ResolverConfig(download_dir, **{**settings, **changes})


def everything_in(folder: Path) -> dict[str, bytes]:
    """Relative name → content of every file, to check that nothing changed, except locks and records of downloads."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }
