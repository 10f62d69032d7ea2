"""Writes LoRA files for the tiny checkpoints, valid ones of every kind and hostile ones.

    write_lora(path, modules_of("sd15"), rank=4, alpha=2, seed=1)              plain low rank, kohya's names
    write_lora(path, modules_of("wan"), kind="lokr", spelling="peft")          Kronecker factors
    sd15_lora(path), sdxl_lora(path), wan_lora(path)                           in their trainers' formats
    unmatched_lora(path), clashing_lora(path), language_model_lora(path)       must be rejected

At `scale` 1 and weight 1, each adds about half of a layer's output, so the sampled picture changes visibly.
The same arguments give the same bytes. Formulas: `comfy/weight_adapter` of ComfyUI 0.3.75.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

from tests.lora_modules import Module, Modules, modules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    Factors = dict[str, torch.Tensor]

STRENGTH = 0.5
"""The size of a delta at scale 1, relative to the checkpoint's own weights (which are about 1 / sqrt(inputs))."""

SPELLINGS: Mapping[str, tuple[str, str]] = {
    "kohya": (".lora_down.weight", ".lora_up.weight"),
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "diffusers": ("_lora.down.weight", "_lora.up.weight"),
    "diffusers_dotted": (".lora.down.weight", ".lora.up.weight"),
    "linear_layer": (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "mochi": (".lora_A", ".lora_B"),
    "peft_default": (".lora_A.default.weight", ".lora_B.default.weight"),
}


def write_lora(
    path: Path,
    modules: Modules,
    *,
    kind: str = "lora",
    rank: int = 4,
    alpha: float | None = 4.0,
    seed: int = 0,
    scale: float = 1.0,
    spelling: str = "kohya",
    metadata: Mapping[str, str] | None = None,
    dtype: str = "float16",
) -> Path:
    """Writes one `.safetensors` that covers `modules`, and returns its path.

    `kind` is a key of `KINDS`. `spelling` (of `SPELLINGS`) determines the names of the low-rank kinds' two factors.
    Without `alpha`, there are no alpha tensors, which means alpha = rank.
    """
    tensors: Factors = {}
    for name, module in modules.items():
        draw = _Draw(f"{seed} {name}", rank, rank if alpha is None else alpha, STRENGTH * scale)
        for suffix, tensor in KINDS[kind](draw, module).items():
            tensors[name + _spelled(suffix, spelling)] = tensor
        if alpha is not None and kind in HAS_ALPHA:
            tensors[f"{name}.alpha"] = _scalar(alpha)
    return save(path, tensors, metadata=metadata, dtype=dtype)


def save(
    path: Path, tensors: Factors, *, metadata: Mapping[str, str] | None = None, dtype: str = "float16"
) -> Path:
    """Writes tensors unchanged except for their dtype. Creates the folder if it is missing."""
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.to(getattr(torch, dtype)).contiguous() for name, tensor in tensors.items()}
    save_file(kept, path, metadata=dict(metadata) if metadata else None)
    return path


class _Draw:
    """Seeded random matrices, and the sizes of their numbers."""

    def __init__(self, seed: str, rank: int, alpha: float, strength: float) -> None:
        import torch

        self.rank = rank
        self.alpha = alpha
        self.strength = strength
        self._generator = torch.Generator().manual_seed(zlib.crc32(seed.encode()))

    def normal(self, *shape: int, std: float = 1.0) -> torch.Tensor:
        import torch

        return torch.randn(shape, generator=self._generator) * std

    def delta_std(self, module: Module) -> float:
        """The intended standard deviation of the finished delta."""
        return self.strength / math.sqrt(math.prod(module.shape[1:]))


def _lora(draw: _Draw, module: Module) -> Factors:
    out, *inputs = module.shape
    down = draw.normal(draw.rank, *inputs)
    # A sum of `rank` products has sqrt(rank) times their standard deviation, and it is multiplied by alpha / rank.
    std = draw.delta_std(module) * math.sqrt(draw.rank) / draw.alpha
    return {"down": down, "up": draw.normal(out, draw.rank, *[1] * len(inputs[1:]), std=std)}


def _tucker(draw: _Draw, module: Module) -> Factors:
    """LoCon with a core: `up (out, r, 1, 1)`, `mid (r, r, h, w)`, `down (r, in, 1, 1)`."""
    out, inputs, *kernel = module.shape
    std = draw.delta_std(module) / draw.alpha
    return {
        "down": draw.normal(draw.rank, inputs, 1, 1),
        ".lora_mid.weight": draw.normal(draw.rank, draw.rank, *kernel),
        "up": draw.normal(out, draw.rank, 1, 1, std=std),
    }


def _dora(draw: _Draw, module: Module) -> Factors:
    """A LoRA whose rows are then scaled to trained lengths, which are about 1 for the tiny checkpoints."""
    lengths = 1 + 0.3 * draw.normal(module.shape[0], *[1] * len(module.shape[1:]))
    return {**_lora(draw, module), ".dora_scale": lengths.abs()}


def _loha(draw: _Draw, module: Module) -> Factors:
    """Hadamard product of two low-rank matrices."""
    out, inputs = module.shape[0], math.prod(module.shape[1:])
    std = draw.delta_std(module) / draw.alpha
    return {
        ".hada_w1_a": draw.normal(out, draw.rank, std=std),
        ".hada_w1_b": draw.normal(draw.rank, inputs),
        ".hada_w2_a": draw.normal(out, draw.rank),
        ".hada_w2_b": draw.normal(draw.rank, inputs),
    }


def _lokr(draw: _Draw, module: Module) -> Factors:
    """The Kronecker product of a small full matrix and a low-rank one."""
    out, inputs, *kernel = module.shape
    small_out, small_in = _near_root_divisor(out), _near_root_divisor(inputs)
    std = draw.delta_std(module) * math.sqrt(draw.rank) / draw.alpha
    w1 = draw.normal(small_out, small_in)
    if (
        kernel
    ):  # a low-rank half of a convolution would need a Tucker core, so it is full, and alpha isn't used
        w2 = draw.normal(out // small_out, inputs // small_in, *kernel, std=draw.delta_std(module))
        return {".lokr_w1": w1, ".lokr_w2": w2}
    return {
        ".lokr_w1": w1,
        ".lokr_w2_a": draw.normal(out // small_out, draw.rank, std=std),
        ".lokr_w2_b": draw.normal(draw.rank, inputs // small_in),
    }


def _near_root_divisor(number: int) -> int:
    """The largest divisor that is at most the square root (and at most 16, because trainers use a small factor)."""
    return max(divisor for divisor in range(1, min(math.isqrt(number), 16) + 1) if number % divisor == 0)


def _glora(draw: _Draw, module: Module) -> Factors:
    """W·a1·a2 + b1·b2, of low rank."""
    out, inputs = module.shape[0], math.prod(module.shape[1:])
    std = draw.delta_std(module) * math.sqrt(draw.rank) / draw.alpha
    width = module.shape[1]
    return {
        ".a1.weight": draw.normal(width, draw.rank, std=1 / math.sqrt(width)),
        ".a2.weight": draw.normal(draw.rank, width, std=draw.strength / draw.alpha),
        ".b1.weight": draw.normal(out, draw.rank, std=std),
        ".b2.weight": draw.normal(draw.rank, inputs),
    }


def _oft(draw: _Draw, module: Module) -> Factors:
    """Rotations of blocks of rows, given by their skew-symmetric parts. Alpha is the constraint, 0 for none."""
    size = _near_root_divisor(module.shape[0])
    blocks = draw.normal(module.shape[0] // size, size, size, std=draw.strength / math.sqrt(size))
    return {".oft_blocks": blocks, ".alpha": _scalar(0)}


def _boft(draw: _Draw, module: Module) -> Factors:
    """Two butterfly stages of rotations, each of four rows."""
    size = 4
    blocks = draw.normal(2, module.shape[0] // size, size, size, std=draw.strength / math.sqrt(size))
    return {".oft_blocks": blocks, ".alpha": _scalar(0)}


def _diff(draw: _Draw, module: Module) -> Factors:
    return {".diff": draw.normal(*module.shape, std=draw.delta_std(module))}


def _diff_b(draw: _Draw, module: Module) -> Factors:
    """The full difference, with the bias's if there is a bias."""
    bias = {".diff_b": draw.normal(module.shape[0], std=0.1 * draw.strength)} if module.has_bias else {}
    return {**_diff(draw, module), **bias}


def _set(draw: _Draw, module: Module) -> Factors:
    """Not a difference, but the weight itself, which replaces the model's."""
    return {".set_weight": draw.normal(*module.shape, std=2 * draw.delta_std(module))}


def _norm(draw: _Draw, module: Module) -> Factors:
    """Differences of a normalisation layer, in LyCORIS's format."""
    factors = {".w_norm": draw.normal(*module.shape, std=0.3 * draw.strength)}
    if module.has_bias:
        factors[".b_norm"] = draw.normal(*module.shape, std=0.1 * draw.strength)
    return factors


KINDS: Mapping[str, Callable[[_Draw, Module], Factors]] = {
    "lora": _lora,
    "tucker": _tucker,  # 3×3 convolutions
    "dora": _dora,
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "oft": _oft,
    "boft": _boft,
    "diff": _diff,
    "diff_b": _diff_b,
    "set": _set,
    "norm": _norm,  # modules_of(…, only="norms")
}
HAS_ALPHA = ("lora", "tucker", "dora", "loha", "lokr", "glora")


def _spelled(suffix: str, spelling: str) -> str:
    down, up = SPELLINGS[spelling]
    return {"down": down, "up": up}.get(suffix, suffix)


def _scalar(value: float) -> torch.Tensor:
    import torch

    return torch.tensor(float(value))


def sd15_lora(path: Path, *, seed: int = 0, scale: float = 1.0, text_encoder: bool = True) -> Path:
    """An SD 1.5 LoRA in the format of kohya's trainer."""
    parts = ("unet", "te1") if text_encoder else ("unet",)
    metadata = {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1/lora"}
    return write_lora(path, modules_of("sd15", parts=parts), seed=seed, scale=scale, metadata=metadata)


def sdxl_lora(path: Path, *, seed: int = 0, scale: float = 1.0, text_encoder: bool = True) -> Path:
    """An SDXL LoRA in the format of kohya's trainer."""
    parts = ("unet", "te1", "te2") if text_encoder else ("unet",)
    metadata = {
        "ss_base_model_version": "sdxl_base_v1-0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    }
    return write_lora(path, modules_of("sdxl", parts=parts), seed=seed, scale=scale, metadata=metadata)


def wan_lora(path: Path, *, seed: int = 0, scale: float = 1.0) -> Path:
    """A Wan LoRA in PEFT's format, without alpha. It matches both experts."""
    return transformer_lora(path, "wan", seed=seed, scale=scale)


def transformer_lora(path: Path, checkpoint: str, *, seed: int = 0, scale: float = 1.0) -> Path:
    """A LoRA for any diffusion transformer (sd3, flux, hunyuan_video, ltxv, wan_1_3b …) in PEFT's format."""
    modules = modules_of(checkpoint, parts=("unet",))
    return write_lora(path, modules, alpha=None, seed=seed, scale=scale, spelling="peft")


def unmatched_lora(path: Path, *, seed: int = 0) -> Path:
    """A valid LoRA whose names don't occur in any model."""
    modules = {f"lora_unet_mystery_layers_{index}_mixer_in": Module((64, 48), False) for index in range(8)}
    return write_lora(path, modules, seed=seed)


def clashing_lora(path: Path, checkpoint: str = "sd15", *, seed: int = 0) -> Path:
    """All names are correct, and all shapes except one: that layer has 8 inputs too many."""
    modules = modules_of(checkpoint)
    name = next(iter(modules))
    out, inputs, *kernel = modules[name].shape
    modules[name] = modules[name]._replace(shape=(out, inputs + 8, *kernel))
    return write_lora(path, modules, seed=seed, spelling="kohya" if "lora_" in name else "peft")


def language_model_lora(path: Path, *, seed: int = 0) -> Path:
    """An adapter for a language model, in PEFT's format."""
    modules = {
        f"base_model.model.model.layers.{layer}.self_attn.{part}_proj": Module((256, 256), False)
        for layer in range(4)
        for part in ("q", "k", "v", "o")
    }
    return write_lora(path, modules, alpha=None, seed=seed, spelling="peft")
