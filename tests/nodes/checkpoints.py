"""Tiny checkpoints, loaded with ComfyUI's own loaders."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import comfy.sd

from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, checkpoint: str, **options: Any) -> tuple[Any, Any]:
    """Returns MODEL and CLIP (None for a diffusion model alone). `options` are those of ComfyUI's loader."""
    path = make_checkpoints(folder, [checkpoint])[checkpoint]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ComfyUI's own warnings while it loads
        if path.parent.name == "diffusion_models":
            return comfy.sd.load_diffusion_model(str(path), **options), None
        return comfy.sd.load_checkpoint_guess_config(str(path), output_vae=False, **options)[:2]


load_once = cache(load)
"""Loads each checkpoint once for all tests of a module. conftest.py clears it at the module's end."""
