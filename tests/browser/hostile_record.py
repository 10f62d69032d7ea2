"""A malicious model record, as a service would pass it on. Every field that can contain text has HTML, scripts, marks
that turn the writing direction, or a megabyte of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "civitai:9000401@9100401"
TWIN = "civitai:9000402@9100402"
"""The same except for its text: as many trigger words, a version, a picture."""

MEGABYTE = "long " * 200_000
TURNING = "\u202e\u2066\u200f\u061c"
SCRIPT = (
    '"\'><img src=x onerror="window.hacked=1"><script>window.hacked=2</script><svg/onload=window.hacked=3>'
)
TITLE = f"{SCRIPT}{TURNING}sj.exe"
TWIN_WORDS = ("one word", "another", "the last")


def hostile_document(document: dict[str, Any]) -> dict[str, Any]:
    """A version's document in which all of the author's texts are replaced with malicious ones."""
    (file,) = document["files"]
    return {
        **document,
        "name": TITLE,
        "description": f"<iframe src=javascript:window.hacked=4></iframe>{TITLE}{MEGABYTE}",
        "trainedWords": [SCRIPT, f"{TURNING}turned{TURNING}", MEGABYTE],
        "model": {**document["model"], "name": f"{TITLE}{MEGABYTE}", "description": TITLE},
        "files": [{**file, "name": f"../../{TURNING}{SCRIPT}.safetensors"}],
        "creator": {"username": TITLE, "image": "javascript:window.hacked=5"},
    }


def hostile_picture(path: Path) -> Path:
    """A picture that is also an HTML page, with a page in its text chunks."""
    notes = PngInfo()
    notes.add_text("Comment", SCRIPT)
    Image.new("RGB", (900, 600), (160, 40, 90)).save(path, "PNG", pnginfo=notes)
    path.write_bytes(path.read_bytes() + f"<html>{SCRIPT}</html>".encode())
    return path
