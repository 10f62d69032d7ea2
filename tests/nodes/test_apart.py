"""Separating two competing LoRAs: each keeps the blocks where more of its own change is."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from air_lora_pack.nodes.array.analysis_report import _apart
from air_lora_pack.nodes.patching.analysis import Analysis

from lora_resolver import LoraEntry, parse_lora_array

pytestmark = pytest.mark.integration

BLOCKS = ("input_blocks.1", "middle_block.1", "output_blocks.0", "diffusion_model.time_embed.0")
ARRAY = parse_lora_array([{"model": "civitai:1@2"}, {"model": "civitai:3@4"}, {"model": "civitai:5@6"}])
STRENGTHS = {
    "civitai:1@2": (0.1, 0.4, 0.2, 0.3),
    "civitai:3@4": (0.02, 0.01, 0.09, 0.0),
    "civitai:5@6": (0.1,) * 4,
}


def apart(entries: tuple[LoraEntry, ...], cosine: float) -> dict[str, Any]:
    """Model → blocks, if the first two compete."""
    names = [str(each.identifier) for each in entries]
    by_block = [STRENGTHS[name] for name in names]
    cosines = [[cosine if "civitai:5@6" not in (one, other) else 0.0 for other in names] for one in names]
    analysis = Analysis(
        BLOCKS,
        tuple(sum(each) for each in by_block),
        tuple(by_block),
        tuple(map(tuple, cosines)),
        (),
        (),
    )
    rows = [{"place": f"lora[{number}]"} for number in range(len(entries))]
    files = [
        SimpleNamespace(lora=SimpleNamespace(place=row["place"], sha256=name))
        for row, name in zip(rows, names)
    ]
    found = _apart(entries, rows, files, analysis)
    return {str(each.identifier): each.blocks.as_json() if each.blocks else None for each in found}


@pytest.mark.parametrize("cosine", [0.8, -0.8])
def test_each_keeps_its_own_blocks_in_every_order(cosine: float) -> None:
    for order in permutations(ARRAY):
        assert apart(order, cosine) == {
            "civitai:1@2": {"input_blocks.1": 0.0, "output_blocks.0": 0.0},
            "civitai:3@4": {"middle_block.1": 0.0},
            "civitai:5@6": None,
        }


def test_nothing_is_taken_apart_where_nothing_competes() -> None:
    assert set(apart(ARRAY, 0.1).values()) == {None}


def test_blocks_that_the_array_says_itself_stay() -> None:
    own = parse_lora_array([{"model": "civitai:1@2", "blocks": "early"}, {"model": "civitai:3@4"}])
    found = apart(own, 0.8)
    assert found["civitai:1@2"] == "early"
    assert found["civitai:3@4"] == {"middle_block.1": 0.0}
