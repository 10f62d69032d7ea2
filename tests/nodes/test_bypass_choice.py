"""How `auto` decides: by a device's bypass cost, which is measured once and stored in the settings, or set by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import comfy.model_patcher
import folder_paths
import pytest
import torch
from air_lora_pack.nodes.patching.bypass_choice import DeviceCosts, choose
from air_lora_pack.nodes.server.settings import bypass_costs, keep_bypass_cost

from lora_resolver import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CPU = torch.device("cpu")
KEY = "layer.weight"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = folder_paths.get_user_directory()
    folder_paths.set_user_directory(str(tmp_path))
    monkeypatch.delenv("AIR_LORA_BYPASS_COSTS", raising=False)
    yield tmp_path / "__air_lora" / "settings.json"
    folder_paths.set_user_directory(before)


def patcher(dtype: torch.dtype) -> comfy.model_patcher.ModelPatcher:
    model = torch.nn.Module()
    model.layer = torch.nn.Linear(64, 64, bias=False, dtype=dtype).requires_grad_(False)
    model.get_dtype = lambda: dtype
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def test_a_model_that_stays_is_patched_unless_a_whole_run_costs_less() -> None:
    model = patcher(torch.float32)
    assert not choose(model, [KEY], DeviceCosts()).bypass
    assert choose(model, [KEY], DeviceCosts({"cpu float32": 1e-6})).bypass


def test_an_unknown_device_is_measured_once_and_kept(settings: Path) -> None:
    model = patcher(torch.float64)
    choose(model, [KEY], DeviceCosts(bypass_costs(), keep_bypass_cost))
    kept = bypass_costs()
    assert list(kept) == ["cpu float64"]
    assert kept["cpu float64"] > 0
    text = settings.read_text()
    choose(model, [KEY], DeviceCosts(bypass_costs(), keep_bypass_cost))
    assert settings.read_text() == text


def test_what_is_set_by_hand_counts_and_stays(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"AIR_LORA_BYPASS_COSTS": "cpu float32=0.5, NVIDIA H200 bfloat16=0.2"}))
    keep_bypass_cost("cpu float64", 1.5)
    assert bypass_costs() == {"cpu float32": 0.5, "NVIDIA H200 bfloat16": 0.2, "cpu float64": 1.5}
    monkeypatch.setenv("AIR_LORA_BYPASS_COSTS", "cpu float32=2")
    keep_bypass_cost("cpu float64", 7)
    assert bypass_costs() == {"cpu float32": 2.0}
    monkeypatch.delenv("AIR_LORA_BYPASS_COSTS")
    assert bypass_costs()["cpu float64"] == 1.5


@pytest.mark.parametrize(
    "text", ["fast", "cpu float32", "cpu float32=", "cpu float32=-1", "cpu=nan", "=0.5x"]
)
@pytest.mark.usefixtures("settings")
def test_a_list_that_cannot_be_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIR_LORA_BYPASS_COSTS", text)
    with pytest.raises(InvalidInput) as raised:
        bypass_costs()
    assert raised.value.code == "invalidSetting"
    assert text[:40] in str(raised.value)
