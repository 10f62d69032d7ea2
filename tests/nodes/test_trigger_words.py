"""Adding the trigger words that a prompt lacks."""

from __future__ import annotations

import pytest
from air_lora_pack.nodes.array.trigger_words import with_missing_words


@pytest.mark.parametrize(
    ("prompt", "words", "expected"),
    [
        ("a house", ["pixel art"], "a house, pixel art"),
        ("a house, ", ["pixel", "art"], "a house, pixel, art"),
        ("", ["pixel"], "pixel"),
        ("Pixel  Art of a house", ["pixel art"], "Pixel  Art of a house"),
        ("(pixel art:1.3), a house", ["pixel art"], "(pixel art:1.3), a house"),
        ("pixelated house", ["pixel"], "pixelated house, pixel"),
        ("a house", ["p1x, art, a house"], "a house, p1x, art"),
        ("a house", ["p1x", "P1X"], "a house, p1x"),
        ("a house", [], "a house"),
        ("a house ", [""], "a house "),
        ("portrait", ["jinx (arcane)"], r"portrait, jinx \(arcane\)"),
        (r"jinx \(arcane\), portrait", ["jinx (arcane)"], r"jinx \(arcane\), portrait"),
        ("portrait", ["(p1x:1.2)"], "portrait, (p1x:1.2)"),
    ],
)
def test_what_is_missing_is_put_behind(prompt: str, words: list[str], expected: str) -> None:
    assert with_missing_words(prompt, words)[0] == expected


def test_it_says_what_it_added() -> None:
    assert with_missing_words("a house", ["p1x, house", "art"])[1] == ["p1x", "art"]
