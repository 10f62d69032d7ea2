"""The showcase: its files match each other, and its code can draw and write files like them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tools.showcase.base_model import MMDiT
from tools.showcase.export import lora_state, model_state
from tools.showcase.lora_layers import LORA_RANK, loras_switched_on
from tools.showcase.sprites import draw_sprite, stack_sprites
from tools.showcase.styles import STYLES, render
from tools.showcase.text_encoder import encoder_state, pooled_vector
from tools.showcase.train import main
from tools.showcase.vae import vae_state
from tools.showcase.vocabulary import TOKEN_IDS

SHOWCASE = Path(__file__).parents[2] / "tools" / "showcase"
CATALOGUE = json.loads((SHOWCASE / "catalogue.json").read_text(encoding="utf-8"))
MODEL_PREFIX = "model.diffusion_model."


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, torch.Tensor]:
    return torch.load(SHOWCASE / "tiny-showcase-all.ckpt", weights_only=True)["state_dict"]


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def style_picture(strengths: dict[str, float], seed: int = 1) -> torch.Tensor:
    sprites = stack_sprites([draw_sprite(seed)])
    return render(sprites.layers, sprites.colours, strengths, torch.Generator().manual_seed(0))


# ---- shipped files


@pytest.mark.parametrize("style", STYLES)
def test_shipped_lora_fits_the_shipped_checkpoint(style: str, checkpoint: dict[str, torch.Tensor]) -> None:
    # kohya's names: the model's own, with underscores instead of dots
    weights = {
        "lora_unet_" + name.removeprefix(MODEL_PREFIX).removesuffix(".weight").replace(".", "_"): tensor
        for name, tensor in checkpoint.items()
        if name.startswith(MODEL_PREFIX) and name.endswith(".weight")
    }
    lora = load_file(SHOWCASE / "loras" / f"tiny_{style}.safetensors")
    layers = {name.split(".")[0] for name in lora}
    assert len(layers) == 17
    for layer in layers:
        rows, columns = weights[layer].shape
        assert lora[f"{layer}.lora_up.weight"].shape == (rows, LORA_RANK)
        assert lora[f"{layer}.lora_down.weight"].shape == (LORA_RANK, columns)
        assert lora[f"{layer}.alpha"] == LORA_RANK
        assert lora[f"{layer}.lora_up.weight"].any(), f"{layer} was never trained"


def test_catalogue_presents_every_style_with_its_files() -> None:
    assert [Path(entry["file"]).stem for entry in CATALOGUE] == [f"tiny_{style}" for style in STYLES]
    for entry in CATALOGUE:
        assert (SHOWCASE / entry["file"]).is_file()
        with Image.open(SHOWCASE / entry["preview"]) as preview:
            assert preview.size == (192, 192)


def test_catalogue_ids_are_distinct_and_plainly_made_up() -> None:
    ids = [entry[name] for entry in CATALOGUE for name in ("model_id", "version_id")]
    assert len(set(ids)) == 2 * len(STYLES)
    assert min(ids) > 9_000_000


# ---- what the code writes


def test_export_writes_the_names_and_shapes_of_the_shipped_checkpoint(
    checkpoint: dict[str, torch.Tensor],
) -> None:
    written = {
        **model_state(MMDiT().state_dict()),
        **vae_state(),
        **encoder_state("text_encoders.clip_l.transformer."),
    }
    assert shapes(written) == shapes(checkpoint)


def test_hand_written_weights_are_those_of_the_shipped_checkpoint(
    checkpoint: dict[str, torch.Tensor],
) -> None:
    hand_written = {**vae_state(), **encoder_state("text_encoders.clip_l.transformer.")}
    different = [name for name, tensor in hand_written.items() if not torch.equal(tensor, checkpoint[name])]
    assert different == []


def test_export_writes_the_names_and_shapes_of_the_shipped_loras() -> None:
    factors = {
        name: (torch.zeros(LORA_RANK, layer.in_features), torch.zeros(layer.out_features, LORA_RANK))
        for name, layer in MMDiT().lora_layers().items()
    }
    shipped = load_file(SHOWCASE / "loras" / "tiny_neon.safetensors")
    assert shapes(lora_state(factors)) == shapes(shipped)


# ---- drawing


def test_a_seed_always_draws_the_same_sprite() -> None:
    first, again, other = draw_sprite(7), draw_sprite(7), draw_sprite(8)
    assert (first.layers == again.layers).all()
    assert (first.labels, first.colour) == (again.labels, again.colour)
    assert (first.layers != other.layers).any()


@pytest.mark.parametrize("style", STYLES)
def test_each_style_changes_the_picture_and_strength_0_does_not(style: str) -> None:
    plain, half, full = (style_picture({style: strength}) for strength in (0.0, 0.5, 1.0))
    assert torch.equal(plain, style_picture({}))
    moved_half, moved_full = (half - plain).abs().mean(), (full - plain).abs().mean()
    assert 0.02 < moved_half < moved_full


def test_every_style_looks_different() -> None:
    pictures = [style_picture({style: 1.0}) for style in STYLES]
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert (picture - other).abs().mean() > 0.05


# ---- model, text and command line


def test_word_order_means_nothing_and_words_do() -> None:
    red, house, tree = (TOKEN_IDS[word] for word in ("red", "house", "tree"))
    torch.testing.assert_close(pooled_vector([red, house]), pooled_vector([house, red]))
    assert not torch.allclose(pooled_vector([red, house]), pooled_vector([red, tree]))


def test_a_lora_works_only_while_it_is_switched_on() -> None:
    model = MMDiT()
    layers = model.lora_layers()
    for layer in layers.values():
        layer.loras["neon"] = (
            torch.ones(LORA_RANK, layer.in_features),
            torch.ones(layer.out_features, LORA_RANK),
        )
    inputs = (torch.randn(2, 3, 48, 48), torch.tensor([0.2, 0.9]), torch.randn(2, 768))
    with torch.no_grad():
        without = model(*inputs)
        with loras_switched_on(layers, {"neon": 0.5}):
            half = model(*inputs)
        after = model(*inputs)
    assert torch.equal(without, after)
    assert not torch.allclose(without, half)


def test_a_stage_without_its_input_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["base", "--work", str(tmp_path), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    missing = tmp_path / "sprites.pt"
    expected = f"{missing} is missing. Run the stage 'data' first, with the same --work."
    assert capsys.readouterr().err.splitlines()[-1].endswith(expected)
