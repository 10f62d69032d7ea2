"""The effect of weights on a picture, on the trained showcase, where a style is visible: pixels from ComfyUI."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tools.comfy_client import Failed
from tools.foreign_lora import write_sdxl_lora
from tools.stage import CHECKPOINT, SHOWCASE, showcase_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Studio

    Pixels = np.ndarray[tuple[int, ...], np.dtype[np.int16]]
    Draw = Callable[..., Pixels]

pytestmark = pytest.mark.integration

STYLES = "neon", "sticker", "blueprint"


@pytest.fixture(scope="module")
def draw(studio: Studio) -> Iterator[Draw]:
    """Draws the picture of an array of (style, weight) pairs. Each picture is drawn only once."""
    models = studio.process.base / "models"
    checkpoint, loras = models / "checkpoints" / CHECKPOINT, models / "loras" / "showcase"
    loras.mkdir()
    shutil.copy(SHOWCASE / CHECKPOINT, checkpoint)
    write_sdxl_lora(loras / "watercolour.safetensors")
    for style in STYLES:
        shutil.copy(SHOWCASE / "loras" / f"tiny_{style}.safetensors", loras / f"{style}.safetensors")
    drawn: dict[str, Pixels] = {}

    def picture(*array: tuple[str, float]) -> Pixels:
        entries = [
            {"model": f"local:showcase/{style}.safetensors", "weight": weight} for style, weight in array
        ]
        text = json.dumps(entries)
        if text not in drawn:
            result = studio.run(replace(showcase_picture(), lora=text, steps=4).workflow())
            drawn[text] = np.asarray(studio.picture(result), dtype=np.int16)
        return drawn[text]

    yield picture
    shutil.rmtree(loras)
    checkpoint.unlink()


def distance(one: Pixels, other: Pixels) -> float:
    """The mean difference of the pixels, in steps of 1/255."""
    return float(np.abs(one - other).mean())


def test_weight_zero_is_the_base_to_the_bit(draw: Draw) -> None:
    assert np.array_equal(draw(("neon", 0)), draw())
    assert np.array_equal(draw(("neon", 0.7), ("sticker", 0)), draw(("neon", 0.7)))


def test_every_order_is_one_picture_to_the_bit(draw: Draw) -> None:
    array = list(zip(STYLES, (0.7, 0.5, 0.4)))
    first, *others = [draw(*order) for order in itertools.permutations(array)]
    assert all(np.array_equal(first, other) for other in others)


def test_a_growing_weight_leads_from_the_base_to_the_style(draw: Draw) -> None:
    pictures = [draw(("neon", weight)) for weight in (0, 0.25, 0.5, 0.75, 1)]
    from_base = [distance(each, pictures[0]) for each in pictures]
    to_style = [distance(each, pictures[-1]) for each in pictures]
    assert from_base == sorted(set(from_base))
    assert to_style == sorted(set(to_style), reverse=True)
    assert from_base[-1] > 20


def test_a_mix_is_neither_style(draw: Draw) -> None:
    mix, neon, sticker = (
        draw(*array)
        for array in (
            [("neon", 0.75), ("sticker", 0.5)],
            [("neon", 0.75)],
            [("sticker", 0.5)],
        )
    )
    apart = distance(neon, sticker)
    assert apart > 20
    assert 5 < distance(mix, neon) < apart
    assert 5 < distance(mix, sticker) < apart


def test_a_negative_weight_leads_the_other_way(draw: Draw) -> None:
    base, more, less = draw(), draw(("neon", 0.5)), draw(("neon", -0.5))
    assert distance(less, base) > 5
    assert distance(less, more) > distance(less, base)


def test_a_style_of_another_architecture_is_refused(draw: Draw) -> None:
    with pytest.raises(Failed) as refused:
        draw(("watercolour", 0.75))
    message = str(refused.value).splitlines()[0]
    assert message.startswith("LoRA 1 (lora[0]): ")
    assert "was trained for SDXL, but the loaded checkpoint is SD 3" in message
