"""The published cut-down versions of SDXL, which differ from it only in depth.

Source: segmind/SSD-1B and segmind/Segmind-Vega, `unet/config.json` (transformer_layers_per_block).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .modules import Contents

__all__ = ["cut_of_sdxl"]

# Attention (d/u: down/up block, its number, its place there) → transformer blocks. Neither model has a middle block.
_DEPTHS = {
    "SSD-1B": {"d10": 2, "d11": 2, "d20": 4, "d21": 4, "u00": 4, "u01": 4, "u02": 10, "u10": 2, "u11": 1, "u12": 1},
    "Segmind Vega": {
        "d10": 1, "d11": 1, "d20": 2, "d21": 2, "u00": 2, "u01": 2, "u02": 2, "u10": 1, "u11": 1, "u12": 1,
    },
}  # fmt: skip
_ORIGINAL = {("i", 4): "d10", ("i", 5): "d11", ("i", 7): "d20", ("i", 8): "d21"} | {
    ("o", number): f"u{number // 3}{number % 3}" for number in range(6)
}


def cut_of_sdxl(contents: Contents) -> str:
    """The cut-down version whose transformer blocks a file covers exactly; "" if there is none."""
    depths: dict[str, int] = {}
    for place, everyone in contents.numbers.items():
        if place.slot or not place.template.endswith("_transformer_blocks_#_attn1_to_q"):
            continue
        start = place.template[0]
        for numbers in everyone:
            own = f"{start}{numbers[0]}{numbers[1]}"
            at = own if start in "du" else _ORIGINAL.get((start, numbers[0]), "middle")
            depths[at] = max(depths.get(at, 0), numbers[-1] + 1)
    return next((name for name, expected in _DEPTHS.items() if depths == expected), "")
