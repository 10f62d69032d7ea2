"""The low-rank analysis compared with the real changes of the weights."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from air_lora_pack.nodes.patching.analysis import analyse, even_weights
from air_lora_pack.nodes.patching.application import loaded_checkpoint
from air_lora_pack.nodes.patching.fit import check_fit
from air_lora_pack.nodes.patching.lora_file import open_lora
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

KINDS = ("lora", "loha", "lokr", "dora", "glora", "oft", "diff", "set")
PAIRS = [
    pair for pair in itertools.combinations_with_replacement(KINDS, 2) if "lora" in pair or pair[0] == pair[1]
]
EXACT = 1e-4


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Any]:
    return {name: load(folder, name)[0] for name in ("sd15", "flux")}


def entry(model: Any, path: Path, strength: float) -> WeightedPatches:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fit = check_fit(open_lora(path, digest), path.stem, loaded_checkpoint(model, None))
    return WeightedPatches("lora[0]", path.stem, digest, strength, fit.diffusion.patches)


def unet(naming: str = "") -> dict[str, Any]:
    return {
        name: module
        for name, module in lora_files.modules_of("sd15", naming=naming).items()
        if not name.startswith("lora_te")
    }


def some_modules(naming: str, *ends: str) -> dict[str, Any]:
    """Those of FLUX with these names: the full deltas of all of them are slow to compute."""
    modules = lora_files.modules_of("flux", naming=naming)
    return {name: module for name, module in modules.items() if name.endswith(ends)}


def explicit(model: Any, entries: list[WeightedPatches]) -> tuple[list[float], list[list[float]]]:
    """Strengths and cosines from full deltas: each patched weight minus the original one."""
    state = model.model.state_dict()
    patches = [stack_patches([each]) for each in entries]
    keys = [key for key in state if any(key in each for each in patches)]
    deltas = [
        torch.cat(
            [
                each[key]
                .calculate_weight(state[key].float().clone(), key, 1.0, 1.0, None, None)
                .sub(state[key].float())
                .flatten()
                if key in each
                else torch.zeros(state[key].numel())
                for key in keys
            ]
        ).double()
        for each in patches
    ]
    weights = torch.cat([state[key].float().flatten() for key in keys]).double()
    strengths = [float(delta.norm() / weights.norm()) for delta in deltas]
    cosines = [[float(a @ b / (a.norm() * b.norm())) for b in deltas] for a in deltas]
    return strengths, cosines


def assert_same(model: Any, entries: list[WeightedPatches]) -> Any:
    found = analyse(model, entries)
    strengths, cosines = explicit(model, entries)
    assert found.strengths == pytest.approx(strengths, rel=EXACT)
    for mine, theirs in zip(found.cosines, cosines):
        assert mine == pytest.approx(theirs, abs=EXACT)
    return found


def test_plain_loras_are_measured_without_their_deltas(models: dict[str, Any], folder: Path) -> None:
    entries = [
        entry(
            models["sd15"],
            lora_files.write_lora(folder / f"plain{seed}.safetensors", unet(), seed=seed, rank=4 + seed),
            strength,
        )
        for seed, strength in enumerate([0.7, 0.5, -0.4])
    ]
    found = assert_same(models["sd15"], entries)
    assert found.blocks == ("input_blocks.1", "middle_block.1", "output_blocks.0")
    assert all(len(each) == len(found.blocks) for each in found.block_strengths)
    assert found.common == ((1.0,) * 3,) * 3


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_kind_beside_every_other(pair: tuple[str, str], models: dict[str, Any], folder: Path) -> None:
    modules = dict(itertools.islice(unet().items(), 12))
    entries = [
        entry(
            models["sd15"],
            lora_files.write_lora(folder / f"{kind}-{seed}.safetensors", modules, kind=kind, seed=seed),
            0.8 - seed,
        )
        for seed, kind in enumerate(pair)
    ]
    assert_same(models["sd15"], entries)


def test_slices_of_one_weight_and_the_whole_of_it(models: dict[str, Any], folder: Path) -> None:
    parts = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
    sliced = some_modules("diffusers", *parts)
    whole = some_modules("", "img_attn.qkv", "linear1")
    assert (len(sliced), len(whole)) == (7, 2)
    entries = [
        entry(
            models["flux"],
            lora_files.write_lora(folder / f"flux{n}.safetensors", modules, seed=n, **more),
            0.6,
        )
        for n, (modules, more) in enumerate([(sliced, {"spelling": "peft", "alpha": None}), (whole, {})])
    ]
    assert_same(models["flux"], entries)


def test_the_same_file_twice_and_its_opposite(models: dict[str, Any], folder: Path) -> None:
    path = lora_files.write_lora(folder / "one.safetensors", unet())
    found = analyse(models["sd15"], [entry(models["sd15"], path, weight) for weight in (0.5, 1.0, -1.0)])
    assert found.cosines[0][1] == pytest.approx(1, abs=EXACT)
    assert found.cosines[0][2] == pytest.approx(-1, abs=EXACT)
    assert found.strengths[1] == pytest.approx(2 * found.strengths[0], rel=EXACT)


def test_what_two_have_in_common_is_a_share_of_all_that_either_changes(
    models: dict[str, Any], folder: Path
) -> None:
    modules = list(unet().items())[:6]
    files = [
        lora_files.write_lora(folder / f"share{number}.safetensors", dict(modules[begin:end]), seed=number)
        for number, (begin, end) in enumerate([(0, 4), (2, 6), (0, 2)])
    ]
    found = analyse(models["sd15"], [entry(models["sd15"], file, 0.5) for file in files])
    assert found.weights == (4, 4, 2)
    assert found.common == ((1, 2 / 6, 2 / 4), (2 / 6, 1, 0), (2 / 4, 0, 1))


def test_loras_of_different_weights_have_nothing_in_common(models: dict[str, Any], folder: Path) -> None:
    names = list(unet().items())
    halves = [dict(names[: len(names) // 2]), dict(names[len(names) // 2 :])]
    found = analyse(
        models["sd15"],
        [
            entry(models["sd15"], lora_files.write_lora(folder / f"half{n}.safetensors", half), 1.0)
            for n, half in enumerate(halves)
        ],
    )
    assert found.common[0][1] == 0
    assert found.cosines[0][1] == 0
    assert 0.0 in found.block_strengths[0]


def test_an_entry_without_effect_is_measured_as_nothing(models: dict[str, Any], folder: Path) -> None:
    path = lora_files.write_lora(folder / "one.safetensors", unet())
    found = analyse(models["sd15"], [entry(models["sd15"], path, 0.0), entry(models["sd15"], path, 1.0)])
    assert found.strengths[0] == 0
    assert found.cosines[0] == (0.0, 0.0)
    assert analyse(models["sd15"], []).strengths == ()


def test_suggested_weights_even_out_dominance(models: dict[str, Any], folder: Path) -> None:
    weights = (0.3, -1.0, 1.5)
    paths = [
        lora_files.write_lora(folder / f"even{seed}.safetensors", unet(), seed=seed, scale=1 + seed)
        for seed in range(3)
    ]
    model = models["sd15"]
    before = analyse(model, [entry(model, path, weight) for path, weight in zip(paths, weights)]).strengths
    suggested = even_weights(before, weights)
    after = analyse(model, [entry(model, path, weight) for path, weight in zip(paths, suggested)]).strengths
    assert max(after) / min(after) < 1.05 < max(before) / min(before)
    assert suggested[1] < 0
    assert even_weights((0.0, 1.0), (0.5, 0.7)) == (0.5, 0.7)
