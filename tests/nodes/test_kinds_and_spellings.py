"""Every kind of adapter in every spelling on every family: each patched weight compared with the format's definition.

The definitions are written here, in float64, from the formats' sources (kohya-ss/sd-scripts, LyCORIS, peft), not from
the pack. The models are ComfyUI's at the published sizes, without memory. In each, the smallest weights are patched.
If ComfyUI's formula differs from the trainer's, ComfyUI's applies, because a LoRA must look the same in every loader:
DoRA over outputs divides by the rows of the weight before the change, and OFT's strength counts twice.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.lora
import pytest
import torch
from air_lora_pack.nodes.patching.fit import check_fit
from air_lora_pack.nodes.patching.lora_file import LoraFile
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

from lora_resolver import SafetensorsHeader
from tests.nodes.test_every_class import EVERY, loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

RANK, ALPHA, STRENGTH = 4, 2.0, 0.7
Tensors = dict[str, torch.Tensor]


def draw(*shape: int, seed: int, spread: float = 0.1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


# ---- each kind's tensors, and what they do to a weight of (outputs, inputs), in float64


def _lora(out: int, inputs: int) -> Tensors:
    return {"lora_down.weight": draw(RANK, inputs, seed=1), "lora_up.weight": draw(out, RANK, seed=2)}


def _lora_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    up, down = tensors["lora_up.weight"].double(), tensors["lora_down.weight"].double()
    return weight + STRENGTH * (ALPHA / RANK) * up @ down


def _dora(out: int, inputs: int) -> Tensors:
    return _lora(out, inputs) | {"dora_scale": 1 + draw(out, 1, seed=3).abs()}


def _dora_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    up, down = tensors["lora_up.weight"].double(), tensors["lora_down.weight"].double()
    changed = weight + (ALPHA / RANK) * up @ down
    norm = weight.norm(dim=1, keepdim=True) + torch.finfo(torch.float32).eps
    scale = tensors["dora_scale"].double().reshape(-1, 1)
    return weight + STRENGTH * (changed * scale / norm - weight)


def _loha(out: int, inputs: int) -> Tensors:
    return {
        "hada_w1_a": draw(out, RANK, seed=1), "hada_w1_b": draw(RANK, inputs, seed=2, spread=1),
        "hada_w2_a": draw(out, RANK, seed=3), "hada_w2_b": draw(RANK, inputs, seed=4, spread=1),
    }  # fmt: skip


def _loha_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    a, b, c, d = (tensors[f"hada_w{name}"].double() for name in ("1_a", "1_b", "2_a", "2_b"))
    return weight + STRENGTH * (ALPHA / RANK) * (a @ b) * (c @ d)


def _lokr(out: int, inputs: int) -> Tensors:
    return {"lokr_w1": draw(2, 2, seed=1, spread=1), "lokr_w2": draw(out // 2, inputs // 2, seed=2)}


def _lokr_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    # Both factors are full. LyCORIS then sets alpha to the rank, so the scale is 1.
    return weight + STRENGTH * torch.kron(tensors["lokr_w1"].double(), tensors["lokr_w2"].double())


def _lokr_low_rank(out: int, inputs: int) -> Tensors:
    return {
        "lokr_w1": draw(2, 2, seed=1, spread=1),
        "lokr_w2_a": draw(out // 2, RANK, seed=2), "lokr_w2_b": draw(RANK, inputs // 2, seed=3),
    }  # fmt: skip


def _lokr_low_rank_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    second = tensors["lokr_w2_a"].double() @ tensors["lokr_w2_b"].double()
    return weight + STRENGTH * (ALPHA / RANK) * torch.kron(tensors["lokr_w1"].double(), second)


def _oft(out: int, inputs: int) -> Tensors:  # noqa: ARG001 - it rotates the outputs
    size = next(each for each in (8, 4, 2, 3, 5, 7, 1) if out % each == 0)
    return {"oft_blocks": draw(out // size, size, size, seed=1)}


def _oft_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    blocks = tensors["oft_blocks"].double()
    count, size, _ = blocks.shape
    skew = blocks - blocks.transpose(1, 2)
    norm = skew.norm() + 1e-8
    skew = skew * ALPHA / norm if norm > ALPHA else skew  # alpha is a constraint here
    unit = torch.eye(size, dtype=torch.float64)
    turn = (unit + skew) @ torch.linalg.inv(unit - skew)
    turned = torch.einsum("k n m, k n p -> k m p", turn - unit, weight.reshape(count, size, -1))
    return weight + STRENGTH**2 * turned.reshape(weight.shape)


def _glora(out: int, inputs: int) -> Tensors:
    return {
        "a1.weight": draw(inputs, RANK, seed=1), "a2.weight": draw(RANK, inputs, seed=2),
        "b1.weight": draw(out, RANK, seed=3), "b2.weight": draw(RANK, inputs, seed=4),
    }  # fmt: skip


def _glora_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    a1, a2, b1, b2 = (tensors[f"{name}.weight"].double() for name in ("a1", "a2", "b1", "b2"))
    return weight + STRENGTH * (ALPHA / RANK) * (b1 @ b2 + weight @ a1 @ a2)


def _diff(out: int, inputs: int) -> Tensors:
    return {"diff": draw(out, inputs, seed=1)}


def _diff_exact(tensors: Tensors, weight: torch.Tensor) -> torch.Tensor:
    return weight + STRENGTH * tensors["diff"].double()


Kind = tuple["Callable[[int, int], Tensors]", "Callable[[Tensors, torch.Tensor], torch.Tensor]"]
KINDS: dict[str, Kind] = {
    "LoRA": (_lora, _lora_exact),
    "DoRA": (_dora, _dora_exact),
    "LoHa": (_loha, _loha_exact),
    "LoKr": (_lokr, _lokr_exact),
    "LoKr, low rank": (_lokr_low_rank, _lokr_low_rank_exact),
    "OFT": (_oft, _oft_exact),
    "GLoRA": (_glora, _glora_exact),
    "difference": (_diff, _diff_exact),
}

# ---- the names of modules


def _underscores(prefix: str) -> Callable[[str], str]:
    return lambda name: prefix + name.replace(".", "_")


def _dots(prefix: str) -> Callable[[str], str]:
    return lambda name: prefix + name


STEMS: dict[str, Callable[[str], str]] = {
    "kohya": _underscores("lora_unet_"),
    "LyCORIS": _underscores("lycoris_"),
    "OneTrainer": _underscores("lora_transformer_"),
    "ComfyUI": _dots("diffusion_model."),
    "checkpoint": _dots("model.diffusion_model."),
    "diffusers": _dots("transformer."),
    "diffusers, UNet": _dots("unet."),
    "peft": _dots("base_model.model."),
    "peft in a pipeline": _dots("transformer.base_model.model."),
    "bare": _dots(""),
}
PEFT = {"lora_down.weight": "lora_A", "lora_up.weight": "lora_B", "dora_scale": "lora_magnitude_vector"}
ENDINGS: dict[str, Callable[[str], str]] = {
    "kohya": lambda role: role,
    "peft": lambda role: f"{PEFT[role]}.weight" if role in PEFT else role,
    "peft, bare": lambda role: PEFT.get(role, role),
    "peft, adapter": lambda role: f"{PEFT[role]}.default_0.weight" if role in PEFT else role,
    "diffusers": lambda role: role.replace("lora_", "lora.", 1) if role.startswith("lora_") else role,
}


def in_every_spelling(name: str, tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    for stem, stem_of in STEMS.items():
        for ending, ending_of in ENDINGS.items():
            spelled = {f"{stem_of(name)}.{ending_of(role)}": tensor for role, tensor in tensors.items()}
            yield f"{stem}, {ending}", spelled | {f"{stem_of(name)}.alpha": torch.tensor(ALPHA)}


# ---- the models' smallest weights


def weights_to_patch(model: str) -> list[str]:
    """The smallest matrix of the blocks with even sizes, and the smallest one outside the blocks."""
    shapes = loaded(model).diffusion.shapes
    even = [
        name
        for name, shape in shapes.items()
        if name.endswith(".weight")
        and len(shape) == 2
        and not any(size % 2 for size in shape)
        and min(shape) >= 8
    ]
    inside = [name for name in even if any(part.isdigit() for part in name.split("."))]
    smallest = {min(names, key=lambda name: shapes[name].numel()) for names in (inside, even) if names}
    return sorted(name for name in smallest if shapes[name].numel() < 5_000_000) or [min(smallest)]


def file_of(tensors: Tensors) -> LoraFile:
    return LoraFile(Path("file.safetensors"), "0" * 64, SafetensorsHeader({}, {}, 0, 0), tensors)


def what_it_holds(value: Any) -> tuple[Any, ...]:
    kind, weights = value if isinstance(value, tuple) else (value.name, value.weights)
    return kind, *((each.data_ptr(), each.shape) if torch.is_tensor(each) else each for each in weights)


def patched(patches: dict[Any, Any], weight: torch.Tensor, sha256: str = "0" * 64) -> torch.Tensor:
    stacked = stack_patches([WeightedPatches("lora[0]", "", sha256, STRENGTH, patches)])
    ((key, adapter),) = stacked.items()
    return comfy.lora.calculate_weight([(1.0, adapter, 1.0, None, None)], weight.clone(), key)


@pytest.mark.parametrize("model", EVERY)
def test_each_weight_is_what_the_format_defines(model: str) -> None:
    checkpoint, worst, count = loaded(model), {}, 0
    for key in weights_to_patch(model):
        out, inputs = checkpoint.diffusion.shapes[key]
        name = key.removeprefix("diffusion_model.").removesuffix(".weight")
        weight = draw(out, inputs, seed=9, spread=0.3)
        for kind, (make, exact) in KINDS.items():
            tensors = make(out, inputs)
            wanted = exact(tensors, weight.double())
            first = None
            for spelling, spelled in in_every_spelling(name, tensors):
                fit = check_fit(file_of(spelled), spelling, checkpoint)
                where = f"{kind}, {spelling}, {name}"
                assert fit.unmatched == (), where
                ((target, value),) = fit.diffusion.patches.items()
                assert (target.key, target.offset) == (key, None), where
                count += 1
                if first is None:
                    first = value
                    found = patched(fit.diffusion.patches, weight)
                    error = float((found.double() - wanted).norm() / (wanted - weight.double()).norm())
                    worst[kind] = max(worst.get(kind, 0.0), error)
                # The same adapter with the same numbers, so the patched weight is the same.
                assert what_it_holds(value) == what_it_holds(first), where
    print(f"{model}: {count} files; " + ", ".join(f"{kind} {error:.0e}" for kind, error in worst.items()))
    assert max(worst.values()) < 2e-5


FUSED = {
    # model, fused weight, names of the separate q, k, and v
    "Z-Image": ("layers.0.attention.qkv", "layers.0.attention.to_{}", "layers.0.attention.{}"),
    "Lumina 2": ("layers.0.attention.qkv", "layers.0.attn.to_{}", "layers.0.attention.to_{}"),
    "HunyuanVideo 1.5": (
        "double_blocks.0.img_attn.qkv",
        "double_blocks.0.img_attn_{}",
        "double_blocks.0.img_attn.{}",
    ),
    "FLUX.1 dev": (
        "double_blocks.0.img_attn.qkv",
        "transformer_blocks.0.attn.to_{}",
        "double_blocks.0.img_attn.to_{}",
    ),
}


@pytest.mark.parametrize("model", [model for model in FUSED if model in EVERY])
def test_q_k_and_v_apart_land_in_their_part_of_the_fused_weight(model: str) -> None:
    fused, *apart = FUSED[model]
    checkpoint, key = loaded(model), f"diffusion_model.{fused}.weight"
    outputs, inputs = checkpoint.diffusion.shapes[key]
    other = (outputs - inputs) // 2
    parts = {"q": (0, inputs), "k": (inputs, other), "v": (inputs + other, other)}
    for spelled_apart in apart:
        for prefix in ("lora_unet_", "lycoris_", "transformer.", "base_model.model.", ""):
            for kind in ("LoRA", "LoKr"):
                make, _exact = KINDS[kind]
                for letter, (start, length) in parts.items():
                    name = spelled_apart.format(letter)
                    stem = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
                    tensors = {f"{stem}.{role}": tensor for role, tensor in make(length, inputs).items()}
                    fit = check_fit(file_of(tensors), stem, checkpoint)
                    (target,) = fit.diffusion.patches
                    assert (target.key, target.offset) == (key, (0, start, length)), stem
                    assert fit.unmatched == ()


def test_three_kinds_of_one_weight_have_no_order() -> None:
    model = next(iter(EVERY))
    checkpoint = loaded(model)
    key = weights_to_patch(model)[0]
    out, inputs = checkpoint.diffusion.shapes[key]
    name, weight = key.removesuffix(".weight"), draw(out, inputs, seed=9, spread=0.3)
    entries, wanted = [], weight.double()
    for number, kind in enumerate(("LoRA", "DoRA", "LoKr")):
        make, exact = KINDS[kind]
        tensors = make(out, inputs)
        spelled = {f"{name}.{role}": tensor for role, tensor in tensors.items()}
        spelled[f"{name}.alpha"] = torch.tensor(ALPHA)
        fit = check_fit(file_of(spelled), kind, checkpoint)
        entries.append(
            WeightedPatches(f"lora[{number}]", kind, f"{number:064}", STRENGTH, fit.diffusion.patches)
        )
        # Every entry acts on the original weight, and the changes are added.
        wanted = wanted + (exact(tensors, weight.double()) - weight.double())
    results = []
    for order in permutations(entries):
        adapter = stack_patches(order)[key]
        results.append(comfy.lora.calculate_weight([(1.0, adapter, 1.0, None, None)], weight.clone(), key))
    assert all(torch.equal(result, results[0]) for result in results)
    assert float((results[0].double() - wanted).norm() / (wanted - weight.double()).norm()) < 1e-5
