"""The cost of a second run: nothing if nothing has changed, and no file is read if only a weight has changed."""

from __future__ import annotations

import gc
import hashlib
import shutil
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.model_management
import comfy.sd
import pytest
from air_lora_pack.nodes.patching import bounded_cache as kept
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.results import KEPT_RESULTS

from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture
def pair(folder: Path) -> tuple[Any, Any]:
    return load(folder, "sd15")


@pytest.fixture
def loras(tmp_path: Path) -> list[WeightedLora]:
    entries = []
    for seed in range(2):
        path = lora_files.sd15_lora(tmp_path / f"{seed}.safetensors", seed=seed)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(WeightedLora(f"lora[{seed}]", path.stem, path, digest, 0.5, 0.25))
    return entries


def apply(pair: tuple[Any, Any], loras: list[WeightedLora]) -> tuple[Any, Any]:
    result = apply_loras(*pair, loras, skip_mismatches=False)
    return result.model, result.clip


def test_nothing_changed_gives_the_same_patchers(pair: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    model, clip = apply(pair, loras)
    again_model, again_clip = apply(pair, loras[::-1])
    assert again_model is model
    assert again_clip is clip
    assert model.patches_uuid != pair[0].patches_uuid


def test_nothing_changed_patches_no_weight_again(
    pair: tuple[Any, Any], loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ComfyUI's own memory management, as a sampler loads the model on each run."""
    calculate, patched = comfy.lora.calculate_weight, []

    def counted(patches: Any, weight: Any, key: str, *arguments: Any, **options: Any) -> Any:
        patched.append(key)
        return calculate(patches, weight, key, *arguments, **options)

    monkeypatch.setattr(comfy.lora, "calculate_weight", counted)
    counts = []
    try:
        for array in (loras, loras, loras[::-1], [replace(loras[0], model_strength=0.7), loras[1]]):
            patched.clear()
            comfy.model_management.load_models_gpu([apply(pair, array)[0]])
            counts.append(len(patched))
    finally:
        comfy.model_management.unload_all_models()
    assert counts[0] > 30
    assert counts[1:] == [0, 0, counts[0]]


def test_one_side_that_changes_leaves_the_other(pair: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    model, clip = apply(pair, loras)
    changed_model, changed_clip = apply(pair, [replace(loras[0], clip_strength=0.3), loras[1]])
    assert changed_model is model
    assert changed_clip is not clip


def test_a_changed_weight_reads_no_file_and_matches_no_key(
    pair: tuple[Any, Any], loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = apply(pair, loras)
    shutil.rmtree(loras[0].path.parent)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("keys are matched again")

    monkeypatch.setattr(comfy.lora, "load_lora", never)
    second, _ = apply(pair, [replace(loras[0], model_strength=0.7), loras[1]])
    assert second is not first
    assert second.patches_uuid != first.patches_uuid
    assert second.patches.keys() == first.patches.keys()


def test_another_model_below_is_another_result(pair: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    first, _ = apply(pair, loras)
    other = pair[0].clone()
    other.add_patches(
        {"diffusion_model.out.0.weight": ("diff", (pair[0].model.diffusion_model.out[0].weight,))}
    )
    second, _ = apply((other, pair[1]), loras)
    assert second is not first
    assert "diffusion_model.out.0.weight" in second.patches


def test_a_result_that_somebody_added_to_is_not_handed_out_again(
    pair: tuple[Any, Any], loras: list[WeightedLora]
) -> None:
    first, _ = apply(pair, loras)
    first.add_patches(
        {"diffusion_model.out.0.weight": ("diff", (pair[0].model.diffusion_model.out[0].weight,))}
    )
    second, _ = apply(pair, loras)
    assert second is not first
    assert "diffusion_model.out.0.weight" not in second.patches


def test_what_is_remembered_keeps_no_checkpoint_alive(folder: Path, loras: list[WeightedLora]) -> None:
    pair = load(folder, "sd15")
    result = apply(pair, loras)
    gone = [weakref.ref(pair[0].model), weakref.ref(pair[1].cond_stage_model)]
    gc.disable()  # ComfyUI expects a checkpoint to be freed immediately when it releases it
    try:
        del pair, result
        left = [each() is not None for each in gone]
    finally:
        gc.enable()
    assert left == [False, False]


def test_what_comes_back_is_the_same_though_comfyui_has_let_go_of_it(
    pair: tuple[Any, Any], loras: list[WeightedLora]
) -> None:
    model, clip = apply(pair, loras)
    before = (model.patches_uuid, clip.patcher.patches_uuid, set(model.patches))
    del model, clip
    gc.collect()
    model, clip = apply(pair, loras)
    assert (model.patches_uuid, clip.patcher.patches_uuid, set(model.patches)) == before


def test_only_so_many_arrays_are_remembered(pair: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    def uuid(strength: float) -> Any:
        return apply(pair, [replace(loras[0], model_strength=strength)])[0].patches_uuid

    uuids = [uuid(number / 10) for number in range(1, 10)]
    last = range(9 - KEPT_RESULTS + 1, 10)
    assert [uuid(number / 10) for number in last] == uuids[-KEPT_RESULTS:]
    assert uuid(0.1) != uuids[0]


def test_the_bound_is_in_bytes_and_can_be_set() -> None:
    things: kept.BoundedCache[str, str] = kept.BoundedCache()
    kept.set_limit(100)
    try:
        for name in "abc":
            things.put(name, name.upper(), 40)
        assert [things.get(name) for name in "abc"] == [None, "B", "C"]
        things.get("b")
        things.put("d", "D", 40)
        assert [things.get(name) for name in "bcd"] == ["B", None, "D"]
        things.put("large", "L", 1000)
        assert [things.get(name) for name in ("b", "d", "large")] == [None, None, "L"]
    finally:
        kept.set_limit(kept.DEFAULT_LIMIT)


def test_files_beyond_the_bound_are_read_again(pair: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    kept.set_limit(0)
    try:
        first = apply_loras(*pair, loras, skip_mismatches=False)
        second = apply_loras(*pair, loras, skip_mismatches=False)
        files = [entry.file for result in (first, second) for entry in result.entries]
        assert len({id(file) for file in files}) > 2, "only one of the two is kept at any time"
    finally:
        kept.set_limit(kept.DEFAULT_LIMIT)
    third = apply_loras(*pair, loras, skip_mismatches=False)
    fourth = apply_loras(*pair, loras, skip_mismatches=False)
    assert [id(entry.file) for entry in fourth.entries] == [id(entry.file) for entry in third.entries]
