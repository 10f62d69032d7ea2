"""The picture next to a LoRA: `<name>.preview.<ext>`, as ComfyUI, most tools, and we name it, or `<name>.<ext>`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import LoraResolverError
from ..safe_files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from ..transfer.transport import Transport

__all__ = ["find_preview", "keep_preview", "named_preview"]

MAX_BYTES = 8 * 1024**2

# First bytes → extension. The server's content type isn't trusted, because browsers display the file.
_KINDS = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"))

_ENDINGS = ("jpeg", "jpg", "png", "webp", "gif")

_log = logging.getLogger(__name__)


def keep_preview(url: str, lora: Path, transport: Transport) -> None:
    """Downloads the picture. A LoRA works without one, so failures are only logged."""
    if not url or find_preview(lora) is not None:
        return
    try:
        with transport.open(url, given_by_server=True) as answer:
            content = bytearray()
            for chunk in answer.chunks() if answer.status == 200 else ():
                content += chunk
                if len(content) > MAX_BYTES:
                    return
        ending = _ending(bytes(content[:16]))
        if ending is not None:
            write_atomically(lora.with_suffix(f".preview.{ending}"), bytes(content))
    except LoraResolverError as error:
        _log.info("No preview for %s: %s", lora.name, error.message)


def find_preview(lora: Path) -> Path | None:
    """The picture next to a LoRA file, if there is one, whichever tool put it there."""
    return named_preview(lora) or _first(lora, "")


def named_preview(lora: Path) -> Path | None:
    """The picture whose name marks it as a preview. A plain `<name>.png` may be the user's own: it is shown, but
    neither removed with the LoRA nor shared with other machines.
    """
    return _first(lora, ".preview")


def _first(lora: Path, before: str) -> Path | None:
    paths = (lora.with_suffix(f"{before}.{ending}") for ending in _ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def _ending(first: bytes) -> str | None:
    for mark, ending in _KINDS:
        if first.startswith(mark):
            return ending
    return "webp" if first[:4] == b"RIFF" and first[8:12] == b"WEBP" else None
