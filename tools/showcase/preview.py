"""A preview of what is trained, without ComfyUI: one column for each prompt, one row for each set of styles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image

from .base_model import MMDiT
from .batches import BatchSource
from .flow import sample
from .lora_layers import loras_switched_on
from .styles import STYLES
from .text_encoder import pooled_vector
from .train_loras import attach_loras
from .vocabulary import TOKEN_IDS

if TYPE_CHECKING:
    from .work_folder import WorkFolder

_PROMPTS = (
    "red supercar city sunset",
    "blue supercar mountains day",
    "yellow supercar desert night",
    "purple car sea sunset",
    "green supercar forest day",
    "red house mountains day",
    "green tree desert sunset",
    "blue rocket city night",
)
_SEED = 5
_ENLARGEMENT = 3

_PLAIN: dict[str, float] = {}
_FULL_STYLES = [{style: 1.0} for style in STYLES]
_DRAWN_ROWS = [_PLAIN, *_FULL_STYLES, {"neon": 0.6, "dissolve": 0.6}]
_LORA_ROWS = [
    *_FULL_STYLES,
    {"sticker": 0.5},
    {"neon": 0.5},
    {"neon": 0.6, "dissolve": 0.6},
    {"sticker": 0.6, "blueprint": 0.6},
]


def save_preview(work: WorkFolder) -> None:
    """Saves pictures by the base model and the LoRAs. Before the LoRAs exist, it uses training pictures instead."""
    model = MMDiT()
    model.load_state_dict(torch.load(work.base_weights, weights_only=True))
    texts = torch.stack([pooled_vector([TOKEN_IDS[word] for word in prompt.split()]) for prompt in _PROMPTS])
    layers = model.lora_layers()
    if work.lora_factors.exists():
        attach_loras(layers, torch.load(work.lora_factors, weights_only=True))
        drawn, sampled = [], [_PLAIN, *_LORA_ROWS]
    else:
        drawn, sampled = _DRAWN_ROWS, [_PLAIN]
    rows = []
    if drawn:
        batches, first = BatchSource(work.sprites), torch.arange(len(_PROMPTS))
        rows += [batches.pictures(first, strengths) for strengths in drawn]
    for strengths in sampled:
        with loras_switched_on(layers, strengths):
            rows.append(sample(model, texts, _SEED))
    sheet = torch.cat([torch.cat(list(row), 2) for row in rows], 1)  # (3, rows · S, prompts · S)
    to_image(sheet, _ENLARGEMENT).save(work.preview)


def to_image(picture: torch.Tensor, enlargement: int) -> Image.Image:
    """Returns a picture (3, height, width), 0 to 1, as an image with each cell enlarged `enlargement` times."""
    pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
    image = Image.fromarray(pixels)
    size = (image.width * enlargement, image.height * enlargement)
    return image.resize(size, Image.Resampling.NEAREST)
