"""GET /air_lora/thumbnail?model=…&size=96|512: a LoRA's preview picture, from this disk or its source.

With `number`, it is one of the pictures that its source shows, counted from 0.

The page never gets a remote address. The picture is small and re-encoded from its pixels, without anything else that
was in the file. The pictures that were shown last are kept in the pack's own folder.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ....lora_resolver import (
    InvalidIdentifier,
    LoraResolverError,
    find_preview,
    parse_identifier,
    read_bounded,
)
from ..settings import resolver_config, state_folder
from . import workers
from .guard import Refused, query_number, query_text, wrong
from .info import local_files
from .lookups import lookups

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from ....lora_resolver import Identifier, ResolverConfig

SIZES = ("96", "512")
MAX_NUMBER = 99
MAX_FILE_BYTES = 32 * 1024**2
MAX_PIXELS = 50_000_000
MAX_KEPT = 3000
"""Files in the folder. One of 512 pixels takes about 40 KB."""

MISSING_SECONDS = 120.0
QUALITY = 82

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_log = logging.getLogger(__name__)


async def thumbnail(request: web.Request) -> web.Response:
    """The picture as WebP, or 404."""
    model = query_text(request, "model", 4096)
    size = request.query.get("size", SIZES[0])
    if size not in SIZES:
        raise wrong("size", " or ".join(SIZES))
    try:
        identifier = parse_identifier(model)
    except InvalidIdentifier as error:
        raise error.at("model") from None
    number = query_number(request, "number", None, MAX_NUMBER) if "number" in request.query else None
    content = await workers.pictures.do(lambda: pictures.get(identifier, int(size), number))
    return web.Response(
        body=content,
        content_type="image/webp",
        headers={
            "Cache-Control": "private, max-age=600",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",
        },
    )


class Pictures:
    """Makes previews, and remembers their addresses and which ones are missing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._missing: OrderedDict[str, float] = OrderedDict()
        self._addresses: OrderedDict[Identifier, str] = OrderedDict()

    def remember(self, identifier: Identifier, url: str) -> None:
        """Stores the address of a picture from a service, so that it isn't requested again."""
        if url:
            with self._lock:
                self._addresses[identifier] = url
                _limit(self._addresses, MAX_KEPT)

    def get(self, identifier: Identifier, size: int, number: int | None = None) -> bytes:
        """The picture, at most `size` pixels wide and high; with `number`, that one of its source.

        Raises Refused if there is none.
        """
        config = resolver_config()
        key = str(identifier) if number is None else f"{identifier} {number}"
        with self._lock:
            if self._missing.get(key, 0) > time.monotonic():
                raise _missing()
        try:
            if number is not None:
                return self._numbered(identifier, size, number, config)
            return self._get(identifier, size, config)
        except LoraResolverError as error:
            if getattr(error, "status", 0) != 404:
                _log.info("[AIR LoRA] No preview for %s: %s", identifier, error.message)
            with self._lock:
                self._missing[key] = time.monotonic() + MISSING_SECONDS
                _limit(self._missing, MAX_KEPT)
            raise _missing() from None

    def forget_missing(self) -> None:
        """Call it after a change of settings: missing pictures may exist then, and other ones may be allowed."""
        with self._lock:
            self._missing.clear()
            self._addresses.clear()

    def _get(self, identifier: Identifier, size: int, config: ResolverConfig) -> bytes:
        file = local_files([identifier], config)[identifier]
        beside = find_preview(file.path) if file is not None else None
        if beside is not None:
            status = beside.stat()
            key = f"{beside} {status.st_size} {status.st_mtime_ns}"
            return self._made(key, size, lambda: _read(beside))
        record = file.record if file is not None else None
        url = record.picture(config.picture_level)[0] if record else self._address(identifier, config)
        if not url or config.offline:
            raise _missing()
        from ....lora_resolver import search

        return self._made(url, size, lambda: search.fetch_picture(config, url))

    def _numbered(self, identifier: Identifier, size: int, number: int, config: ResolverConfig) -> bytes:
        file = local_files([identifier], config)[identifier]
        record = file.record if file is not None else lookups.record(identifier, config)
        if record is None or number >= len(record.previews):
            raise _missing()
        url, level = record.previews[number]

        def fetched() -> bytes:
            if config.offline:
                raise _missing()
            from ....lora_resolver import search

            return search.fetch_picture(config, url)

        return shrink(fetched(), size) if level > config.picture_level else self._made(url, size, fetched)

    def _address(self, identifier: Identifier, config: ResolverConfig) -> str:
        if identifier.source == "local":
            return ""
        with self._lock:
            if identifier in self._addresses:
                return self._addresses[identifier]
        record = lookups.record(identifier, config)
        if record is None:
            from ....lora_resolver import search

            record = search.describe(config, identifier, seconds=10)
        url, _ = record.picture(config.picture_level)
        self.remember(identifier, url)
        return url

    def _made(self, key: str, size: int, source: Callable[[], bytes]) -> bytes:
        """The picture of this key, made only once for simultaneous requests."""
        name = f"{hashlib.sha256(key.encode()).hexdigest()[:40]}-{size}.webp"
        path = state_folder() / "thumbnails" / name
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        try:
            with making:
                content = _kept(path)
                if content is None:
                    content = shrink(source(), size)
                    _keep(path, content)
                return content
        finally:
            with self._lock:
                self._making.pop(name, None)


def shrink(content: bytes, size: int) -> bytes:
    """The first picture in it as WebP of at most `size` × `size` pixels. Raises Refused if it isn't a picture."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise _missing()
            picture.draft("RGB", (size * 2, size * 2))  # decodes a JPEG no larger than needed
            picture.load()
            # The colors of a palette can't be interpolated. All other pictures are shrunk before they are converted.
            small = _in_plain_colours(picture) if picture.mode in ("1", "P", "PA") else picture
            small.thumbnail((size, size))
            small = _in_plain_colours(ImageOps.exif_transpose(small))
        bare = Image.frombytes(small.mode, small.size, small.tobytes())
        made = io.BytesIO()
        bare.save(made, "WEBP", quality=QUALITY)
    except Refused:
        raise
    except Exception as error:  # a decoder may raise anything for malicious bytes
        _log.debug("[AIR LoRA] Couldn't read a preview: %s", type(error).__name__)
        raise _missing() from None
    return made.getvalue()


def _in_plain_colours(picture: Image.Image) -> Image.Image:
    return picture.convert("RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB")


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_FILE_BYTES)
    except OSError:
        raise _missing() from None


def _kept(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    return content


def _keep(path: Path, content: bytes) -> None:
    """Saves the picture. If that fails, it is made again next time."""
    part = path.with_suffix(f".{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
        files = sorted(path.parent.glob("*.webp"), key=lambda each: each.stat().st_mtime)
        for old in files[: len(files) - MAX_KEPT] if len(files) > MAX_KEPT else ():
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.info("[AIR LoRA] Couldn't save a preview: %s", error.strerror)


def _limit(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def _missing() -> Refused:
    return Refused(404, "notFound", "There is no preview image", "Open the model's page to look for images.")


pictures = Pictures()
