"""The text-to-image graph of the demo, in ComfyUI's API format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.comfy_client import Workflow


@dataclass(frozen=True)
class TextToImage:
    """Load Checkpoint → Apply LoRA Array → CLIP Text Encode → KSampler → VAE Decode → Save Image."""

    checkpoint: str
    prompt: str
    lora: str = "[]"
    """The array, as JSON text."""
    negative: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    cfg: float = 7.0
    seed: int = 1
    sampler: str = "euler"
    scheduler: str = "normal"
    latent: str = "EmptyLatentImage"
    """The node that creates the empty latent. SD3's latent has 16 channels."""
    on_mismatch: str = "error"

    def with_lora(self, lora: str) -> TextToImage:
        """The same graph with another array."""
        return replace(self, lora=lora)

    def workflow(self) -> Workflow:
        """Returns the graph. A separate node shows the report, so that it is part of the history."""
        return {
            "checkpoint": {
                "class_type": "CheckpointLoaderSimple",
                "inputs": {"ckpt_name": self.checkpoint},
            },
            "apply": {
                "class_type": "AirLoraApply",
                "inputs": {
                    "model": ["checkpoint", 0],
                    "clip": ["checkpoint", 1],
                    "lora": self.lora,
                    "on_mismatch": self.on_mismatch,
                    "expert": "both",
                },
            },
            "positive": {
                "class_type": "CLIPTextEncode",
                "inputs": {"clip": ["apply", 1], "text": self.prompt},
            },
            "negative": {
                "class_type": "CLIPTextEncode",
                "inputs": {"clip": ["apply", 1], "text": self.negative},
            },
            "latent": {
                "class_type": self.latent,
                "inputs": {"width": self.width, "height": self.height, "batch_size": 1},
            },
            "sampler": {
                "class_type": "KSampler",
                "inputs": {
                    "model": ["apply", 0],
                    "positive": ["positive", 0],
                    "negative": ["negative", 0],
                    "latent_image": ["latent", 0],
                    "seed": self.seed,
                    "steps": self.steps,
                    "cfg": self.cfg,
                    "sampler_name": self.sampler,
                    "scheduler": self.scheduler,
                    "denoise": 1.0,
                },
            },
            "decode": {
                "class_type": "VAEDecode",
                "inputs": {"samples": ["sampler", 0], "vae": ["checkpoint", 2]},
            },
            "save": {
                "class_type": "SaveImage",
                "inputs": {"images": ["decode", 0], "filename_prefix": "air-lora"},
            },
            "report": {"class_type": "PreviewAny", "inputs": {"source": ["apply", 3]}},
        }
