"""Pictures that are sent with a task, and pictures that are returned.

A task sends a data URI, bare base64, an address, or the UUID of an upload or of a result. The picture is decoded once,
re-encoded from its pixels as PNG, and stored in ComfyUI's input folder. The response returns the file that ComfyUI
saved, or the same picture in another format; PNG keeps the workflow.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...lora_resolver import InvalidInput, LoraResolverError, new_uuid
from ..server.settings import input_folder, resolver_config, saved_in

if TYPE_CHECKING:
    from PIL import Image

FOLDER = "air_lora_v1"
"""The subfolder in ComfyUI's input, output and temporary folders."""

MOST_BYTES = 50 * 1024**2
MOST_PIXELS = 64_000_000
FORMATS = {"PNG": ("PNG", "image/png"), "JPG": ("JPEG", "image/jpeg"), "WEBP": ("WEBP", "image/webp")}
"""Runware's name → Pillow's name and the MIME type."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATA_URI = re.compile(r"data:[^,]{0,80};base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
_NAMESPACE = uuid.UUID("0e6d7f6e-2f1c-4f5b-9d0e-6b8f5f1f3c11")
KEEP_DAYS = 30
"""How long pictures that were sent with tasks are kept after their last use, as by the hosted service."""


def take_in(value: object, parameter: str) -> str:
    """Stores the picture and returns its file name as LoadImage lists it. Raises LoraResolverError at `parameter`."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(parameter, "It isn't an image")
    text = value.strip()
    if is_uuid(text.lower()):
        return _known(text.lower(), parameter)
    if text.lower().startswith(("http://", "https://")):
        return _kept(_fetched(text, parameter), parameter)
    uri = _DATA_URI.match(text[:100])
    encoded = text[uri.end() :] if uri else text
    if len(encoded) > MOST_BYTES * 4 // 3 + 4:
        raise _wrong(parameter, f"It's larger than {MOST_BYTES:,} bytes")
    plain = "".join(encoded.split()).translate(_URL_SAFE)
    try:
        content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(parameter, "It isn't base64, a URL, or the UUID of an upload") from None
    return _kept(content, parameter)


def uuid_of(name: str) -> str:
    """The UUID of a stored picture, from its file's name."""
    return Path(name).stem


def input_file(name: str) -> Path:
    """The path of a stored picture."""
    return input_folder() / name


def encoded(picture: Path, wanted: str, quality: int) -> bytes:
    """The saved picture in this format. For PNG, the file's own bytes."""
    if wanted == "PNG":
        return picture.read_bytes()
    from PIL import Image

    kind, _ = FORMATS[wanted]
    made = io.BytesIO()
    with Image.open(picture) as opened:
        opened.convert("RGB").save(made, kind, quality=quality)
    return made.getvalue()


def _known(uuid: str, parameter: str) -> str:
    name = f"{FOLDER}/{uuid}.png"
    if input_file(name).is_file():
        if parameter == "maskImage":
            return _kept(input_file(name).read_bytes(), parameter)
        input_file(name).touch()
        return name
    result = result_file(uuid)
    if result is None:
        raise _wrong(parameter, f"There is no image with the UUID {uuid}")
    return _kept(result.read_bytes(), parameter)


def _fetched(address: str, parameter: str) -> bytes:
    from ...lora_resolver import search

    try:
        return search.fetch_from_anywhere(resolver_config(), address, MOST_BYTES)
    except LoraResolverError as error:
        # The task's sender must not find out which port of which computer answers, and how.
        why = f": {error.message}" if error.code in ("badAnswer", "tooLarge") else ""
        raise InvalidInput(
            f"The image can't be downloaded from its URL{why}",
            code="downloadFailed",
            parameter=parameter,
            remedy="Use an https URL on a public host, or send the image as base64 or a data URI.",
        ) from None


def _kept(content: bytes, parameter: str) -> str:
    from PIL import Image, ImageOps

    if len(content) > MOST_BYTES:
        raise _wrong(parameter, f"It's larger than {MOST_BYTES:,} bytes")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP")) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise _wrong(parameter, f"It has more than {MOST_PIXELS:,} pixels")
            opened.load()
            picture = _plain_colours(ImageOps.exif_transpose(opened))
    except InvalidInput:
        raise
    except Image.DecompressionBombError:
        raise _wrong(parameter, f"It has more than {MOST_PIXELS:,} pixels") from None
    except Exception:  # a decoder may raise anything for malicious bytes
        raise _wrong(parameter, "It can't be read as an image") from None
    if parameter == "maskImage":
        picture = _as_mask(picture)
    digest = hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes()).hexdigest()
    name = f"{FOLDER}/{uuid.uuid5(_NAMESPACE, digest)}.png"
    path = input_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():  # the same picture was sent before
        path.touch()
    else:
        part = path.with_name(f".{new_uuid()}.part")
        picture.save(part, "PNG")
        part.replace(path)
    return name


def _plain_colours(picture: Image.Image) -> Image.Image:
    """The picture with 8 bits for each color, and with transparency if it has any."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip instead of scale
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def _as_mask(picture: Image.Image) -> Image.Image:
    """The mask in gray: white is redrawn. Raises InvalidInput for a mask that uses only transparency."""
    grey = picture.convert("RGB").convert("L")
    darkest, lightest = grey.getextrema()
    if picture.mode == "RGBA" and darkest == lightest:
        alpha = picture.getchannel("A").getextrema()
        if alpha[0] != alpha[1] or darkest == 0:
            raise InvalidInput(
                "It has only one color, and transparency doesn't count",
                code="invalidImage",
                parameter="maskImage",
                remedy="Paint the area to redraw white, and the rest black.",
            )
    return grey.convert("RGB")


def size_of(name: str) -> tuple[int, int]:
    """Width and height of a stored picture."""
    from PIL import Image

    with Image.open(input_file(name)) as opened:
        return opened.width, opened.height


def remove_old_inputs() -> None:
    """Removes pictures that haven't been used for KEEP_DAYS."""
    with contextlib.suppress(OSError):
        for path in input_file(FOLDER).glob("*.png"):
            if is_uuid(path.stem) and time.time() - path.stat().st_mtime > KEEP_DAYS * 86400:
                path.unlink()


def _wrong(parameter: str, what: str) -> InvalidInput:
    return InvalidInput(
        what,
        code="invalidImage",
        parameter=parameter,
        remedy="Send a PNG, JPEG, or WebP image as base64 or a data URI, or send a UUID from imageUpload.",
    )


def result_file(uuid: str) -> Path | None:
    """The file that ComfyUI saved under this UUID; None if there is none, or if `uuid` isn't a UUID."""
    if not is_uuid(uuid):
        return None
    folder = saved_in("output") / FOLDER
    usual = folder / f"{uuid}_00001_.png"  # searching a folder of many thousands of images is slow
    files = [usual] if usual.is_file() else sorted(folder.glob(f"{uuid}_*")) if folder.is_dir() else []
    return next((path for path in files if path.is_file() and not path.is_symlink()), None)


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in lowercase."""
    return _UUID.fullmatch(text) is not None


def is_result(path: Path, uuid: str) -> bool:
    """Whether the file is available at the address of this result."""
    return path.parent == (saved_in("output") / FOLDER).resolve() and path.name.startswith(f"{uuid}_")


def kept_as_result(path: Path, uuid: str) -> Path:
    """Makes a copy for the address of this result, if a workflow only previews, or names its files itself."""
    target = saved_in("output") / FOLDER / f"{uuid}_00001_{path.suffix.lower()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return target


def saved_file(reference: dict[str, Any]) -> Path:
    """The file that a ComfyUI node reports as saved."""
    base = saved_in(str(reference.get("type", "output"))).resolve()
    path = (base / str(reference.get("subfolder", "")) / str(reference["filename"])).resolve()
    if not path.is_relative_to(base):
        raise InvalidInput("A node saved a file outside ComfyUI's folders", code="invalidImage", remedy="")
    return path
