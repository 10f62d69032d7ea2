"""A stack saved as one file: when loaded, it is the same sum, or as close as its rank allows and the report says."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.sd
import pytest
import torch
from air_lora_pack.nodes.patching.application import loaded_checkpoint
from air_lora_pack.nodes.patching.fit import check_fit
from air_lora_pack.nodes.patching.loaded_model import diffusion_weights, text_encoder_weights
from air_lora_pack.nodes.patching.lora_file import open_lora
from air_lora_pack.nodes.patching.merging import file_stems, merge
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

from lora_resolver import Mismatch, detect_architecture, read_header
from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from pathlib import Path

    from air_lora_pack.nodes.patching.merging import Merged

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

FP32 = {"rank": None, "dtype": torch.float32}


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Any]:
    sd15, clip = load(folder, "sd15")
    return {"sd15": sd15, "clip": clip, **{name: load(folder, name)[0] for name in ("flux", "wan")}}


def entry(model: Any, path: Path, strength: float, clip: Any = None) -> WeightedPatches:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fit = check_fit(open_lora(path, digest), path.stem, loaded_checkpoint(model, clip))
    side = fit.text_encoder if clip is not None else fit.diffusion
    assert side
    return WeightedPatches("lora[0]", path.stem, digest, strength, side.patches)


def deltas(model: Any, entries: list[WeightedPatches]) -> dict[str, torch.Tensor]:
    """What the entries add to each weight, in fp32."""
    state = model.model.state_dict()
    return {
        key: adapter.calculate_weight(state[key].float().clone(), key, 1.0, 1.0, None, None)
        - state[key].float()
        for key, adapter in stack_patches(entries).items()
    }


def loaded_by_core(model: Any, merged: Merged) -> dict[str, torch.Tensor]:
    """The same for the merged tensors, with ComfyUI's own reader and adapters. No tensor may remain unused."""
    state = model.model.state_dict()
    key_map = diffusion_weights(model).key_map
    patches = comfy.lora.load_lora(merged.tensors, key_map, log_missing=False)
    read = set().union(*(getattr(value, "loaded_keys", set()) for value in patches.values()))
    left = [name for name in merged.tensors if name not in read and not name.endswith((".diff", ".diff_b"))]
    assert left == []
    return {
        key: comfy.lora.calculate_weight([(1.0, value, 1.0, None, None)], state[key].float().clone(), key)
        - state[key].float()
        for key, value in patches.items()
    }


def difference(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """‖mine − theirs‖ / ‖theirs‖"""
    assert mine.keys() == theirs.keys()
    lost = sum(float((mine[key] - theirs[key]).square().sum()) for key in mine)
    return (lost / sum(float(each.square().sum()) for each in theirs.values())) ** 0.5


def unet(count: int | None = None) -> dict[str, Any]:
    modules = lora_files.modules_of("sd15")
    return dict(itertools.islice(((n, m) for n, m in modules.items() if not n.startswith("lora_te")), count))


def three(model: Any, folder: Path, modules: dict[str, Any], **more: Any) -> list[WeightedPatches]:
    return [
        entry(
            model,
            lora_files.write_lora(folder / f"m{n}.safetensors", modules, seed=n, rank=4 + n, **more),
            weight,
        )
        for n, weight in enumerate([0.7, -0.4, 1.2])
    ]


@pytest.mark.parametrize("model", ["sd15", "flux", "wan"])
def test_stacked_ranks_are_the_sum(model: str, models: dict[str, Any], folder: Path) -> None:
    modules = unet() if model == "sd15" else lora_files.modules_of(model)
    entries = three(models[model], folder, modules)
    merged = merge(models[model], diffusion_weights(models[model]), entries, **FP32)
    assert merged.error == 0
    assert merged.rank == 4 + 5 + 6
    assert difference(loaded_by_core(models[model], merged), deltas(models[model], entries)) < 1e-5


def test_slices_of_one_weight_become_the_whole(models: dict[str, Any], folder: Path) -> None:
    sliced = lora_files.modules_of("flux", naming="diffusers")
    path = lora_files.write_lora(folder / "sliced.safetensors", sliced, spelling="peft", alpha=None)
    entries = [entry(models["flux"], path, 0.6)]
    merged = merge(models["flux"], diffusion_weights(models["flux"]), entries, **FP32)
    assert difference(loaded_by_core(models["flux"], merged), deltas(models["flux"], entries)) < 1e-5


@pytest.mark.parametrize("kind", ["loha", "lokr", "dora", "glora", "oft", "tucker", "diff", "diff_b", "set"])
def test_kinds_without_factors_are_saved_as_differences(
    kind: str, models: dict[str, Any], folder: Path
) -> None:
    modules = unet(6)
    if kind == "tucker":  # only for convolutions
        modules = {name: module for name, module in unet().items() if len(module.shape) == 4}
    entries = [
        entry(models["sd15"], lora_files.write_lora(folder / f"{kind}.safetensors", modules, kind=kind), 0.8),
    ]
    if kind != "set":  # "set" can't be combined with other kinds
        plain = lora_files.write_lora(folder / "plain.safetensors", modules, seed=9)
        entries.append(entry(models["sd15"], plain, 0.5))
    merged = merge(models["sd15"], diffusion_weights(models["sd15"]), entries, **FP32)
    assert merged.error == 0
    assert difference(loaded_by_core(models["sd15"], merged), deltas(models["sd15"], entries)) < 1e-5


@pytest.mark.parametrize("kind", ["lora", "loha"])
def test_a_rank_keeps_the_best_and_the_error_is_what_is_missing(
    kind: str, models: dict[str, Any], folder: Path
) -> None:
    entries = three(models["sd15"], folder, unet(), kind=kind)
    weights = diffusion_weights(models["sd15"])
    expected = deltas(models["sd15"], entries)
    found = {}
    for rank in (2, 6, 64):
        merged = merge(models["sd15"], weights, entries, rank=rank, dtype=torch.float32)
        assert merged.rank <= rank
        assert merged.full_differences == 0
        found[rank] = merged.error
        mine = difference(loaded_by_core(models["sd15"], merged), expected)
        assert mine == pytest.approx(merged.error, abs=2e-3)
        singular = [torch.linalg.svdvals(each.flatten(1)).square() for each in expected.values()]
        best = (sum(float(s[rank:].sum()) for s in singular) / sum(float(s.sum()) for s in singular)) ** 0.5
        assert merged.error == pytest.approx(best, abs=0.01), "as good as the whole SVD"
    assert found[2] > found[6] > found[64]


def test_more_ranks_than_a_weight_has_are_folded_without_loss(models: dict[str, Any], folder: Path) -> None:
    modules = {name: module for name, module in unet().items() if min(module.shape[:2]) <= 320}
    modules = dict(itertools.islice(modules.items(), 2))
    entries = [
        entry(
            models["sd15"],
            lora_files.write_lora(folder / f"w{n}.safetensors", modules, seed=n, rank=200),
            1.0,
        )
        for n in range(2)
    ]
    merged = merge(models["sd15"], diffusion_weights(models["sd15"]), entries, **FP32)
    assert merged.rank <= 320
    assert merged.error < 1e-4
    assert difference(loaded_by_core(models["sd15"], merged), deltas(models["sd15"], entries)) < 1e-4


def test_small_numbers_survive_fp16(models: dict[str, Any], folder: Path) -> None:
    path = lora_files.write_lora(folder / "tiny.safetensors", unet(4), scale=1e-2, dtype="float32")
    entries = [entry(models["sd15"], path, 0.01)]
    merged = merge(models["sd15"], diffusion_weights(models["sd15"]), entries, rank=None, dtype=torch.float16)
    assert difference(loaded_by_core(models["sd15"], merged), deltas(models["sd15"], entries)) < 2e-3


def test_text_encoders_go_by_kohya_s_names(models: dict[str, Any], folder: Path) -> None:
    entries = [
        entry(models["sd15"], lora_files.sd15_lora(folder / "te.safetensors", seed=3), 0.5, models["clip"])
    ]
    merged = merge(models["clip"].patcher, text_encoder_weights(models["clip"]), entries, **FP32)
    assert all(name.startswith("lora_te_text_model_encoder_layers_") for name in merged.tensors)
    assert merged.weights == len(entries[0].patches)


@pytest.mark.parametrize(("model", "family"), [("sd15", "sd1"), ("flux", "flux1"), ("wan", "wan")])
def test_what_is_saved_is_known_for_what_it_is(
    model: str, family: str, models: dict[str, Any], folder: Path
) -> None:
    modules = unet() if model == "sd15" else lora_files.modules_of(model)
    merged = merge(
        models[model],
        diffusion_weights(models[model]),
        three(models[model], folder, modules),
        rank=4,
        dtype=torch.float16,
    )
    path = lora_files.save(folder / f"merged-{model}.safetensors", merged.tensors)
    families = detect_architecture(read_header(path)).families
    assert any(each.startswith(family) for each in families)


def test_every_weight_of_a_unet_has_a_name(models: dict[str, Any]) -> None:
    weights = diffusion_weights(models["sd15"])
    stems = file_stems(weights)
    assert all(
        key in stems for key in weights.shapes if key.endswith(".weight") and key.startswith("diffusion_")
    )
    assert (
        stems["diffusion_model.input_blocks.1.1.proj_in.weight"]
        == "lora_unet_down_blocks_0_attentions_0_proj_in"
    )


def test_a_lora_that_widens_a_weight_is_refused(models: dict[str, Any], folder: Path) -> None:
    path = lora_files.write_lora(folder / "plain2.safetensors", unet(1))
    one = entry(models["sd15"], path, 1.0)
    (target, adapter) = next(iter(one.patches.items()))
    shape = [size + 8 for size in models["sd15"].model.state_dict()[target.key].shape]
    wide = type(adapter)(set(), (*adapter.weights[:5], shape))
    changed = WeightedPatches(one.place, one.name, one.sha256, 1.0, {target: wide})
    with pytest.raises(Mismatch, match="widens the weight") as caught:
        merge(models["sd15"], diffusion_weights(models["sd15"]), [changed], **FP32)
    assert caught.value.code == "cannotMerge"
