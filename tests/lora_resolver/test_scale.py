"""Alphas in a file's metadata, as in peft's configuration."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from lora_resolver import Mismatch, alphas_of_metadata

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
    ("a.to_q", {"lora_alpha": "8"}, 8),
    ("a.to_q", {"lora_alpha": True}, None),
    ("a.to_q", {}, None),
]


@pytest.mark.parametrize(("module", "configuration", "alpha"), CASES)
def test_alphas(module: str, configuration: dict[str, Any], alpha: float | None) -> None:
    assert (
        alphas_of_metadata({"lora_adapter_metadata": json.dumps(configuration)}).alpha_of(module, 4) == alpha
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "8", "[" * 100_000])
def test_metadata_that_says_nothing(text: str) -> None:
    assert alphas_of_metadata({"lora_adapter_metadata": text}).alpha_of("a", 4) is None
    assert alphas_of_metadata({}).alpha_of("a", 4) is None


FLAT: list[tuple[str, dict[str, str], float | None]] = [
    # module, metadata, alpha at rank 4
    ("transformer.a", {"alpha": "64", "rank": "16"}, 64),
    ("transformer.a", {"transformer.lora_alpha": "8", "transformer.r": "4"}, 8),
    ("a", {"transformer.lora_alpha": "8"}, 8),
    ("base_model.model.a", {"network_alpha": "2.5"}, 2.5),
    ("lora_unet_a", {"lora_alpha": "8", "use_rslora": "True"}, 16),
    ("text_encoder.encoder.layers.0.mlp.fc1", {"unet.lora_alpha": "8"}, None),
    ("lora_te2_a", {"text_encoder_2.lora_alpha": "8", "text_encoder.lora_alpha": "4"}, 8),
    ("a", {"ss_network_alpha": "8"}, None),
    ("a", {"alpha": "a lot"}, None),
    ("a", {"lora_adapter_metadata": '{"transformer.lora_alpha": 64, "transformer.r": 16}'}, 64),
    ("a", {"lora_adapter_metadata": '{"lora_alpha": 64}', "alpha": "8"}, 64),
    ("a", {"adapter_config": '{"lora_alpha": 3, "r": 16}'}, 3),
]


@pytest.mark.parametrize(("module", "metadata", "alpha"), FLAT)
def test_alphas_in_fields_of_their_own(module: str, metadata: dict[str, str], alpha: float | None) -> None:
    assert alphas_of_metadata(metadata).alpha_of(module, 4) == alpha


PATTERNS = [
    # peft's own examples, and what its users write
    (r"blocks\.(0|1|2)\..*", "transformer_blocks.1.attn.to_q", False),
    (r"transformer_blocks\.(0|1|2)\..*", "transformer_blocks.1.attn.to_q", True),
    (r"^transformer_blocks\.\d+\.attn\.to_[qkv]", "transformer_blocks.17.attn.to_k", True),
    (r"^attn\.to_q$", "transformer_blocks.17.attn.to_q", False),
    (r".*\.attn\.to_(q|k)", "transformer_blocks.17.attn.to_v", False),
    (r"[^.]+\.lin(ear)?_?1{1,2}", "blocks.0.linear_11", True),
    ("to_q", "transformer_blocks.17.attn.to_q", True),
]


@pytest.mark.parametrize(("pattern", "module", "is_meant"), PATTERNS)
def test_patterns_are_regular_expressions_as_peft_reads_them(
    pattern: str, module: str, is_meant: bool
) -> None:
    assert bool(re.match(rf"(.*\.)?({pattern})$", module)) == is_meant
    metadata = {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {pattern: 3}})}
    assert alphas_of_metadata(metadata).alpha_of(module, 4) == (3 if is_meant else 8)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(((a*)*)*)*b", "(a|a)*b", "(.*)*(.*)*(.*)*b", "((a{0,9}){0,9}){0,9}b"]
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {pattern: 3}})}
    assert alphas_of_metadata(metadata).alpha_of("a" * 200, 4) == 8


@pytest.mark.parametrize(
    "pattern", ["(", "a" * 301, "(?=a)", r"(a)\1", "(?i:a)", "(" * 20 + ")" * 20, r"\ba"]
)
def test_a_pattern_that_cannot_be_read_is_refused_by_name(pattern: str) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {pattern: 3}})}
    with pytest.raises(Mismatch) as caught:
        alphas_of_metadata(metadata).alpha_of("a", 4)
    assert caught.value.code == "unsupportedAlphaPattern"
    assert pattern[:80] in str(caught.value).replace("\\\\", "\\")


def test_an_alpha_that_is_no_number_is_refused() -> None:
    with pytest.raises(Mismatch) as caught:
        alphas_of_metadata({"lora_alpha": "NaN"}).alpha_of("a", 4)
    assert caught.value.code == "badAlpha"
