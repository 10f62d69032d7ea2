"""`python -m lora_resolver inspect`: its output for users and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lora_resolver.cli import main
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

STYLE = ROOT / "tools/showcase/loras/tiny_neon.safetensors"
KEYS = [
    "file",
    "kind",
    "families",
    "verdict",
    "rank",
    "ranks",
    "scale",
    "parts",
    "metadata",
    "notes",
    "error",
]


def write(path: Path, **shapes: list[int]) -> Path:
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"ss_network_dim": "8"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path


@pytest.fixture
def flux(tmp_path: Path) -> Path:
    module = "lora_unet_double_blocks_18_img_mod_lin"
    shapes = {f"{module}.lora_down.weight": [8, 3072], f"{module}.lora_up.weight": [18432, 8]}
    return write(tmp_path / "flux.safetensors", **shapes)


def test_says_in_a_sentence_what_a_file_is(flux: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(flux), str(STYLE)]) == 0
    first, no_alpha, second, alphas, note = capsys.readouterr().out.splitlines()
    assert first == f"{flux}: It is a LoRA for FLUX.1; it changes 1 module of the transformer. Rank 8."
    assert second == f"{STYLE}: It is a LoRA for SD 3; it changes 17 modules of the transformer. Rank 8."
    assert (no_alpha, alphas) == ("  - scale: no alpha given, 1 assumed", "  - scale: alpha tensors")
    assert "no published model" in note


def test_json_is_one_document_with_every_file(
    flux: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.safetensors"
    page.write_text("<!DOCTYPE html><html>Log in</html>")
    embedding = write(tmp_path / "embedding.safetensors", emb_params=[4, 768])
    assert main(["inspect", "--json", str(flux), str(embedding), str(page), str(tmp_path / "gone")]) == 1
    captured = capsys.readouterr()
    lora, inversion, html, gone = json.loads(captured.out)
    assert captured.err == ""
    assert [list(report) for report in (lora, inversion, html, gone)] == [KEYS] * 4
    assert lora == {
        "file": str(flux),
        "kind": "lora",
        "families": ["flux1"],
        "verdict": "known",
        "rank": 8,
        "ranks": [8, 8],
        "scale": "no alpha given, 1 assumed",
        "parts": ["transformer"],
        "metadata": {"ss_network_dim": "8"},
        "notes": ["It is a LoRA for FLUX.1; it changes 1 module of the transformer."],
        "error": None,
    }
    assert (inversion["verdict"], inversion["families"]) == ("not_a_diffusion_lora", [])
    assert inversion["notes"] == ["It is a textual inversion."]
    assert html["error"]["code"] == "notSafetensors"
    assert "a web page" in html["error"]["message"]
    assert gone["error"]["code"] == "fileNotFound"


def test_what_cannot_be_read_is_named_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 30)
    assert main(["inspect", str(broken), str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2
    assert "Not a .safetensors file" in captured.err


def test_needs_a_file() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["inspect"])


def test_runs_without_torch_or_numpy(flux: Path) -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'numpy', 'comfy', 'aiohttp')));"
        f"from lora_resolver.cli import main; sys.exit(main(['inspect', {str(flux)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "It is a LoRA for FLUX.1" in done.stdout
