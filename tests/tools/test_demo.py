"""`make demo` with invalid settings: one sentence that names the setting, before ComfyUI starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.integration

ARRAY = '[{"model": "civitai:120096@135931", "weight": 0.7}]'


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LORA": ARRAY}, "LORA needs CHECKPOINT as well"),
        ({"CHECKPOINT": "some.safetensors"}, "CHECKPOINT needs LORA as well"),
        ({"CHECKPOINT": "some.safetensors", "LORA": "[{]"}, "LORA isn't a valid `lora` array:\n"),
        (
            {"CHECKPOINT": "some.safetensors", "LORA": ARRAY, "SIZE": "large"},
            "SIZE=large: write it as SIZE=1024x1024",
        ),
        (
            {"CHECKPOINT": "some.safetensors", "LORA": ARRAY, "STEPS": "2.5"},
            "STEPS=2.5: write it as STEPS=20",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, str], said: str) -> None:
    names = ("CHECKPOINT", "LORA", "PROMPT", "SIZE", "STEPS", "CFG", "SEED")
    environment = {**os.environ, **dict.fromkeys(names, ""), **settings}
    command = [sys.executable, "tools/dev.py", "demo"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stdout
    assert done.stderr == ""
    assert "Starting ComfyUI" not in done.stdout
