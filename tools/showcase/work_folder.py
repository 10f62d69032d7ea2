"""The files that the training's stages write for later stages.

sprites.pt               drawn pictures, layer by layer     (stage data)
base.pt, base.json       base model weights, and a summary  (stage base)
loras.pt, loras.json     LoRA factors, and a summary        (stage loras)
preview.png              pictures by the trained model      (stage preview)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class WorkFolder:
    path: Path

    @property
    def sprites(self) -> Path:
        return self.path / "sprites.pt"

    @property
    def base_weights(self) -> Path:
        return self.path / "base.pt"

    @property
    def base_summary(self) -> Path:
        return self.path / "base.json"

    @property
    def lora_factors(self) -> Path:
        return self.path / "loras.pt"

    @property
    def lora_summary(self) -> Path:
        return self.path / "loras.json"

    @property
    def preview(self) -> Path:
        return self.path / "preview.png"
