"""Captions of sprites, as token IDs. They are random and incomplete, like prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .vocabulary import COLOURS, FILLER_TOKEN_IDS, OBJECTS, PLACES, TIMES, TOKEN_IDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


def random_caption(rng: np.random.Generator, labels: Sequence[int]) -> list[int]:
    """Returns the token IDs of a caption for a sprite with these labels (as in Sprite). One in ten is empty.

    The empty ones teach the model the unconditional prediction that classifier-free guidance needs.
    """
    if rng.random() < 0.10:
        return []
    kind, colour, place, time = labels
    token_ids = []
    if rng.random() < 0.95:
        token_ids += _object_words(rng, OBJECTS[kind])
    if rng.random() < 0.8:
        token_ids.append(TOKEN_IDS[list(COLOURS)[colour]])
    if rng.random() < 0.65:
        token_ids.append(TOKEN_IDS[PLACES[place]])
    if rng.random() < 0.65:
        token_ids.append(TOKEN_IDS[TIMES[time]])
    for _ in range(rng.integers(0, 5)):
        token_ids.append(FILLER_TOKEN_IDS[rng.integers(len(FILLER_TOKEN_IDS))])
    if rng.random() < 0.2:  # words that the model doesn't know must have no effect
        token_ids += [int(token) for token in rng.integers(1000, 48000, rng.integers(1, 4))]
    return token_ids


def _object_words(rng: np.random.Generator, kind: str) -> list[int]:
    """A supercar is sometimes called a car, and occasionally both."""
    if kind != "supercar":
        return [TOKEN_IDS[kind]]
    word = "car" if rng.random() < 0.3 else "supercar"
    if rng.random() < 0.1:
        return [TOKEN_IDS["supercar"], TOKEN_IDS["car"]]
    return [TOKEN_IDS[word]]
