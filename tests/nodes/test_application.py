"""Arrays on a real, tiny SD 1.5: the resulting weights."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import TYPE_CHECKING, Any

import comfy.sd
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras

from lora_resolver import Mismatch, SeveralErrors
from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

Pair = tuple[Any, Any]

# If a checkpoint lacks this weight, as SD 1.5's do, ComfyUI doesn't initialize it: it has old memory, which can be NaN.
WITHOUT_VALUE = "clip_l.transformer.text_projection.weight"
TEXT_LAYERS = 2
"""Twelve would only take longer."""
MODULES = {
    name: module
    for name, module in lora_files.modules_of("sd15").items()
    if not (match := re.match(r"lora_te_.*_layers_(\d+)", name)) or int(match[1]) < TEXT_LAYERS
}


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Pair:
    """MODEL and CLIP, as Load Checkpoint returns them."""
    return load(folder, "sd15", te_model_options={"clip_l_model_config": {"num_hidden_layers": TEXT_LAYERS}})


@pytest.fixture(scope="module")
def loras(folder: Path) -> list[WeightedLora]:
    entries = []
    for seed, strength in enumerate([0.7, 0.5, -0.4, 1.0]):
        path = lora_files.write_lora(folder / f"{seed}.safetensors", MODULES, seed=seed)
        entries.append(weighted(path, f"lora[{seed}]", strength))
    return entries


def weighted(path: Path, place: str, strength: float, clip_strength: float | None = None) -> WeightedLora:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightedLora(
        place, path.stem, path, digest, strength, strength if clip_strength is None else clip_strength
    )


def weights(patcher: Any) -> dict[str, torch.Tensor]:
    """All weights while the patcher is in use. It is unpatched afterwards."""
    # On a CPU, a text encoder counts as patched as soon as it is loaded. ComfyUI unpatches it first, as here.
    patcher.unpatch_model(device_to=torch.device("cpu"))
    patcher.patch_model(device_to=torch.device("cpu"))
    try:
        tensors = patcher.model.state_dict()
        return {name: tensor.clone() for name, tensor in tensors.items() if name != WITHOUT_VALUE}
    finally:
        patcher.unpatch_model(device_to=torch.device("cpu"))


def of_clip(clip: Any) -> dict[str, torch.Tensor]:
    return weights(clip.patcher)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def apply(pair: Pair, entries: list[WeightedLora], **options: Any) -> Any:
    return apply_loras(*pair, entries, skip_mismatches=options.get("skip", False))


def test_nothing_to_add_gives_the_very_same_model(checkpoint: Pair, loras: list[WeightedLora]) -> None:
    model, clip = checkpoint
    empty = apply(checkpoint, [])
    assert empty.model is model
    assert empty.clip is clip
    off = apply(checkpoint, [weighted(loras[0].path, "lora[0]", 0.0)])
    assert off.model is model
    assert off.clip is clip


def test_every_order_gives_the_same_weights_bit_for_bit(checkpoint: Pair, loras: list[WeightedLora]) -> None:
    results = [
        apply(checkpoint, list(order)) for order in itertools.islice(itertools.permutations(loras), 0, 24, 5)
    ]
    first_model, first_clip = weights(results[0].model), of_clip(results[0].clip)
    for result in results[1:]:
        assert same(weights(result.model), first_model)
        assert same(of_clip(result.clip), first_clip)


def test_the_weights_are_those_of_chained_core_loaders_within_rounding(
    checkpoint: Pair, loras: list[WeightedLora]
) -> None:
    model, clip = checkpoint
    for lora in loras:
        file = comfy.utils.load_torch_file(str(lora.path))
        strengths = (lora.model_strength, lora.clip_strength)
        model, clip = comfy.sd.load_lora_for_models(model, clip, file, *strengths)
    ours = apply(checkpoint, loras)
    base = weights(checkpoint[0])
    for mine, core in ((weights(ours.model), weights(model)), (of_clip(ours.clip), of_clip(clip))):
        for name, tensor in core.items():
            difference = (mine[name].float() - tensor.float()).abs()
            # fp16 weights: at most one rounding apart, at the weight's own magnitude.
            allowed = torch.finfo(torch.float16).eps * tensor.float().abs() + 1e-7
            assert (difference <= allowed).all(), name
    changed = [name for name, tensor in weights(ours.model).items() if not torch.equal(tensor, base[name])]
    assert len(changed) > 30


def test_the_base_weights_come_back_bit_for_bit(checkpoint: Pair, loras: list[WeightedLora]) -> None:
    before = {name: tensor.clone() for name, tensor in checkpoint[0].model.state_dict().items()}
    weights(apply(checkpoint, loras).model)
    assert same(before, dict(checkpoint[0].model.state_dict()))


def test_clip_weight_is_the_text_encoder_s_alone(checkpoint: Pair, loras: list[WeightedLora]) -> None:
    result = apply(checkpoint, [weighted(loras[0].path, "lora[0]", 0.0, clip_strength=0.8)])
    assert result.model is checkpoint[0]
    assert not same(of_clip(result.clip), of_clip(checkpoint[1]))


def test_two_applications_in_a_row_add_up(checkpoint: Pair, loras: list[WeightedLora]) -> None:
    first = apply(checkpoint, loras[:1])
    both = weights(apply((first.model, first.clip), loras[1:2]).model)
    at_once = weights(apply(checkpoint, loras[:2]).model)
    for name, tensor in at_once.items():
        assert torch.allclose(both[name].float(), tensor.float(), atol=2e-3)


def test_a_misfit_leaves_everything_as_it_was(
    checkpoint: Pair, loras: list[WeightedLora], folder: Path
) -> None:
    wrong = weighted(lora_files.sdxl_lora(folder / "sdxl.safetensors"), "lora[1]", 1.0)
    with pytest.raises(Mismatch) as caught:
        apply(checkpoint, [loras[0], wrong])
    assert (caught.value.code, caught.value.parameter) == ("wrongArchitecture", "lora[1]")
    assert checkpoint[0].patches == {}
    skipped = apply(checkpoint, [loras[0], wrong], skip=True)
    assert same(weights(skipped.model), weights(apply(checkpoint, [loras[0]]).model))


def test_all_misfits_are_told(checkpoint: Pair, folder: Path) -> None:
    wrong = [
        weighted(lora_files.sdxl_lora(folder / "sdxl.safetensors"), "lora[0]", 1.0),
        weighted(lora_files.unmatched_lora(folder / "unmatched.safetensors"), "lora[1]", 1.0),
    ]
    with pytest.raises(SeveralErrors) as caught:
        apply(checkpoint, wrong)
    assert [error.code for error in caught.value.errors] == ["wrongArchitecture", "noKeysMatch"]


def test_a_text_encoder_lora_needs_a_clip(checkpoint: Pair, folder: Path) -> None:
    path = folder / "te.safetensors"
    lora_files.write_lora(path, lora_files.modules_of("sd15", parts=("te1",)))
    entry = weighted(path, "lora[0]", 1.0)
    assert apply(checkpoint, [entry]).entries[0].fit.without_clip == 0
    with pytest.raises(Mismatch) as caught:
        apply_loras(checkpoint[0], None, [entry], skip_mismatches=False)
    assert caught.value.code == "needsClip"
