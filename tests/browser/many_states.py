"""The setup of the browser tests: a local CivitAI with a LoRA for each state that a row can show."""

from __future__ import annotations

import json
import struct
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tests.browser.hostile_record import HOSTILE, TITLE, TWIN, TWIN_WORDS, hostile_document, hostile_picture
from tools.civitai_server import CatalogueEntry, read_catalogue
from tools.foreign_lora import write_sdxl_lora
from tools.holding_server import HoldingCivitai
from tools.stage import SHOWCASE, ShowcaseStage
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.civitai_server import Exchange

LONG_NAME = "Cinematic golden hour portraits with a very long name that nobody shortened before publishing"
LONG = "civitai:9000201@9100201"
LONG_WORDS = ("golden hour", "cinematic lighting", "85mm portrait", "film grain", "soft rim light", "bokeh")
LOCKED = "civitai:9000202@9100202"
OLD_VERSION, NEW_VERSION = "civitai:9000203@9100203", "civitai:9000203@9100204"
DESCRIPTION = (
    "<h2>Two versions</h2><p>A calm style for small pictures.<br>Best with short prompts &amp; few words.</p>"
    "<script>window.hacked = 6</script><p>Weights from 0.4 to 0.7.</p>"
)
HOSTED = "runware:100@1"
ADULT = "civitai:9000205@9100205"
FILMS = "civitai:9000206@9100206"
MISSING = "civitai:9000299@9100299"
LOCAL = "local:paper-cut.safetensors"
LOCAL_FOREIGN = "local:sdxl/photo-real.safetensors"
SLOW_MODELS = range(9000301, 9000321)


class CivitaiOfMoods(HoldingCivitai):
    """Some LoRAs need a token, one has a malicious record, and downloads can be paused halfway."""

    def version_document(self, lora: CatalogueEntry) -> dict[str, Any]:
        document = super().version_document(lora)
        return hostile_document(document) if str(lora.version_id) == version_of(HOSTILE) else document

    def download(self, exchange: Exchange, version_id: str) -> None:
        if version_id in map(version_of, (LOCKED, HOSTILE, TWIN)):
            exchange.send_json({"error": "Unauthorized", "message": "login"}, HTTPStatus.UNAUTHORIZED)
        else:
            super().download(exchange, version_id)


def copy_with_a_stranger(source: Path, target: Path) -> None:
    """Copies a LoRA and adds layers that no checkpoint has."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(source)
    for block in range(3):
        for role, shape in (("lora_A", (4, 8)), ("lora_B", (8, 4))):
            tensors[f"diffusion_model.new_blocks.{block}.attn.{role}.weight"] = torch.full(shape, 0.1)
    save_file(tensors, target)


class BrowserStage(ShowcaseStage):
    """The showcase's stage with more LoRAs, two of them on disk, and a checkpoint of another architecture."""

    _server: CivitaiOfMoods

    def __init__(self, base: Path) -> None:
        super().__init__(base, CivitaiOfMoods)
        self._unused = [f"civitai:{model}@{model + 100_000}" for model in SLOW_MODELS]
        make_checkpoints(base / "models", ["sdxl"])
        loras = base / "models" / "loras"
        (loras / "sdxl").mkdir(parents=True, exist_ok=True)
        sticker = read_catalogue(SHOWCASE / "catalogue.json")[0]
        copy_noted(sticker.file, loras / "paper-cut.safetensors", "paper cut")
        if sticker.preview:
            (loras / "paper-cut.preview.png").write_bytes(sticker.preview.read_bytes())
        copy_with_a_stranger(sticker.file, loras / "half-known.safetensors")
        foreign = loras / "sdxl" / "photo-real.safetensors"
        write_sdxl_lora(foreign)
        # Different from the showcase's file, because a run that uses that file would also give this one its name.
        copy_noted(foreign, foreign, "photo real")

    def downloadable(self) -> str:
        """Returns a LoRA that no test has downloaded yet."""
        return self._unused.pop(0)

    @contextmanager
    def downloads_held(self) -> Iterator[None]:
        """Downloads that start in this block stop halfway until it ends."""
        self._server.go_on.clear()
        try:
            yield
        finally:
            self._server.go_on.set()

    @contextmanager
    def hostile_record(self) -> Iterator[None]:
        """In this block, CivitAI has a malicious record and its harmless twin."""
        likeness, before = read_catalogue(SHOWCASE / "catalogue.json")[1], self._server.catalogue
        picture = hostile_picture(self.base / "served" / "hostile.png")
        self._server.catalogue = (
            *before,
            self._like(likeness, HOSTILE, name=TITLE, preview=picture),
            self._like(likeness, TWIN, name="Harmless manuscript", preview=picture, trigger_words=TWIN_WORDS),
        )
        try:
            yield
        finally:
            self._server.catalogue = before

    def _catalogue(self) -> list[CatalogueEntry]:
        entries = super()._catalogue()
        likeness, other = entries[0], entries[1]
        return [
            *entries,
            self._like(likeness, ADULT, name="Adult art", picture_level=8),
            self._like(likeness, FILMS, name="Moving pictures", picture_type="video"),
            self._like(
                likeness,
                LONG,
                name=LONG_NAME,
                version_name="v2.0 final (fp16, pruned)",
                trigger_words=LONG_WORDS,
            ),
            self._like(other, LOCKED, name="Members only"),
            self._like(
                other,
                NEW_VERSION,
                name="Two versions",
                version_name="v2.0",
                published="2026-03-04",
                about="<p>Trained again on <b>twice</b> as many pictures.</p><ul><li>calmer lines</li></ul>",
                description=DESCRIPTION,
            ),
            self._like(
                likeness,
                OLD_VERSION,
                name="Two versions",
                version_name="v1.0",
                suggested=(0.55, 0.4, 0.7),
                trigger_words=("two", "versions"),
                more_pictures=tuple(each.preview for each in entries[1:4] if each.preview),
            ),
            *(
                self._like(other, f"civitai:{model}@{model + 100_000}", name=f"Arriving {model}")
                for model in SLOW_MODELS
            ),
        ]

    def _like(self, entry: CatalogueEntry, air: str, **changes: Any) -> CatalogueEntry:
        """A different model with its own file, otherwise like `entry`."""
        model_id, version_id = map(int, air.removeprefix("civitai:").split("@"))
        file = self.base / "served" / f"lora-{version_id}.safetensors"
        copy_noted(entry.file, file, air)
        return replace(entry, model_id=model_id, version_id=version_id, file=file, **changes)


def version_of(air: str) -> str:
    return air.partition("@")[2]


def copy_noted(source: Path, target: Path, note: str) -> None:
    """Copies a LoRA file with the same tensors and another header, so that its hash differs."""
    content = source.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {**header.get("__metadata__", {}), "note": note}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
