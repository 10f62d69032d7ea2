"""Alphas in a file's metadata, as peft's configuration gives them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lora_resolver import VerificationFailed, alphas_of_peft

CASES: list[tuple[str, dict[str, Any], float | None]] = [
    # module, configuration, alpha at rank 4
    ("a.to_q", {"lora_alpha": 8, "r": 4}, 8),
    ("base_model.model.a.to_q", {"lora_alpha": 8}, 8),
    ("unet.a", {"unet.lora_alpha": 8, "text_encoder.lora_alpha": 2}, 8),
    ("text_encoder.a", {"unet.lora_alpha": 8, "text_encoder.lora_alpha": 2}, 2),
    ("text_encoder.a", {"unet.lora_alpha": 8}, None),
    ("a.to_q", {"lora_alpha": 8, "alpha_pattern": {"to_q": 3}}, 3),
    ("unet.a.to_q", {"unet.lora_alpha": 8, "unet.alpha_pattern": {"a.to_q": 3}}, 3),
    ("a.to_q", {"lora_alpha": 8, "alpha_pattern": {"o_q": 3, "^to_q": 4}}, 8),
    ("a.to_q", {"lora_alpha": 8, "alpha_pattern": {"^a.to_q$": 4}}, 4),
    ("a.to_q", {"lora_alpha": 8, "use_rslora": True}, 8 * math.sqrt(4)),
    ("a.to_q", {"lora_alpha": "8"}, None),
    ("a.to_q", {"lora_alpha": True}, None),
    ("a.to_q", {}, None),
]


@pytest.mark.parametrize(("module", "configuration", "alpha"), CASES)
def test_alphas(module: str, configuration: dict[str, Any], alpha: float | None) -> None:
    assert alphas_of_peft({"lora_adapter_metadata": json.dumps(configuration)})(module, 4) == alpha


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "8", "[" * 100_000])
def test_metadata_that_says_nothing(text: str) -> None:
    assert alphas_of_peft({"lora_adapter_metadata": text})("a", 4) is None
    assert alphas_of_peft({})("a", 4) is None


def test_a_pattern_that_is_an_expression_is_refused_and_not_tried() -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {"(a+)+b": 3}})}
    with pytest.raises(VerificationFailed) as caught:
        alphas_of_peft(metadata)("a" * 60, 4)
    assert caught.value.code == "unsupportedAlphaPattern"
    assert "(a+)+b" in str(caught.value)
