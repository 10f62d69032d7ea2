"""GGUF checkpoints: the header is read within limits, and gives the same verdict as the same model in other formats."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver import VerificationFailed, detect_checkpoint
from lora_resolver.errors import NotFound
from lora_resolver.model_file.gguf_header import read_gguf_header
from tools.tiny_checkpoints import transformers, unet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Q4_K, F16 = 12, 1


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(
    shapes: Mapping[str, tuple[int, ...]], keys: Mapping[str, Any], kind: int = Q4_K, version: int = 3
) -> bytes:
    """A file in the format of ComfyUI-GGUF's converter, without data."""
    content = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(keys))
    for key, value in keys.items():
        content += text(key)
        if isinstance(value, str):
            content += struct.pack("<I", 8) + text(value)
        elif isinstance(value, list) and value and isinstance(value[0], str):
            content += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        elif isinstance(value, list):
            content += struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
        else:
            content += struct.pack("<II", 4, value)
    for name, shape in shapes.items():
        content += text(name) + struct.pack("<I", len(shape))
        content += b"".join(struct.pack("<Q", size) for size in reversed(shape)) + struct.pack("<IQ", kind, 0)
    return content


def write(path: Path, content: bytes, size: int = 10**9) -> Path:
    with path.open("wb") as file:
        file.write(content)
        file.truncate(max(size, len(content)))
    return path


MODELS = {
    "flux1": transformers.flux_shapes(),
    "wan_1_3b": transformers.wan_shapes(1536, 8960, blocks=1),
    "sd1": {
        name.removeprefix("model.diffusion_model."): shape
        for name, shape in unet.unet_shapes(unet.SD15).items()
    },
}


@pytest.mark.parametrize("family", MODELS)
def test_the_model_is_known(tmp_path: Path, family: str) -> None:
    flat = {name: shape if len(shape) < 5 else (shape[0], -1) for name, shape in MODELS[family].items()}
    shapes = {
        name: shape if -1 not in shape else (shape[0], _rest(MODELS[family][name]))
        for name, shape in flat.items()
    }
    keys = {
        "general.architecture": "flux",
        "general.file_type": 14,
        "tokens": ["a", "b"],
        **{
            f"comfy.gguf.orig_shape.{name}": list(MODELS[family][name])
            for name, shape in shapes.items()
            if shape != MODELS[family][name]
        },
    }
    header = read_gguf_header(write(tmp_path / "model.gguf", gguf(shapes, keys)))
    assert {name: info.shape for name, info in header.tensors.items()} == MODELS[family]
    assert header.metadata["general.architecture"] == "flux"
    found = detect_checkpoint(header)
    assert family in found.families
    assert found.precision == "Q4_K"


def _rest(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape[1:]:
        product *= size
    return product


def test_what_is_no_gguf(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_gguf_header(tmp_path / "missing.gguf")
    sound = gguf({"a.weight": (4, 4)}, {"general.architecture": "flux"}, F16)
    for content in (
        b"",
        b"GGUF",
        b"PK\3\4" + bytes(100),
        sound[:-3],
        gguf({}, {}, version=1),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 2**61),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 2),
        gguf({"a": (2**40, 2**40)}, {}),
        gguf({"a": (1,) * 9}, {}),
    ):
        with pytest.raises(VerificationFailed) as caught:
            read_gguf_header(write(tmp_path / "bad.gguf", content, size=0))
        assert caught.value.code == "notGguf"


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    sound = gguf({f"blocks.{n}.weight": (8, 4) for n in range(20)}, {"general.name": "x", "list": [1, 2, 3]})
    chance = random.Random(5)
    for _ in range(2000):
        content = bytearray(sound)
        for _ in range(chance.choice([1, 3, 20])):
            content[chance.randrange(len(content))] = chance.getrandbits(8)
        path = write(tmp_path / "damaged.gguf", bytes(content), size=10**6)
        try:
            detect_checkpoint(read_gguf_header(path))
        except VerificationFailed as error:
            assert error.code == "notGguf"


def test_inspect_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lora_resolver.cli import main

    path = write(tmp_path / "flux.GGUF", gguf(MODELS["flux1"], {"general.architecture": "flux"}))
    assert main(["inspect", str(path)]) == 0
    assert "It is FLUX.1, LongCat-Image or Ovis-Image (transformer; Q4_K)." in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "missing.gguf")]) == 1
