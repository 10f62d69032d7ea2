"""POST /air_lora/parse and /air_lora/dropped: a pasted text or a dropped file → entries of an array."""

from __future__ import annotations

import io
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ....lora_resolver import (
    DEFAULT_WEIGHT,
    InvalidInput,
    LoraResolverError,
    Pasted,
    detect_architecture,
    is_safetensors,
    open_regular,
    parse_header,
    read_dropped,
    read_pasted,
)
from ..settings import lora_folders, lora_names, resolver_config
from . import workers
from .guard import Refused, query_number, query_text, read_body, read_fields
from .items import error_facts, item_of_file, name_of_file, plain, with_fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

MAX_TEXT = 8 * 1024**2
"""Characters of a pasted text; a workflow of a thousand nodes has one million."""

MAX_FILE = 64 * 1024**2
MAX_FILE_SIZE = 2**50
LEAST_BEGINNING = 1024
LEAST_NUMBERS = 4096
"""Bytes after the header that distinguish a file from others with the same header."""

_COMPARED = 16 * 1024**2


async def parse(request: web.Request) -> dict[str, Any]:
    """{text} → {entries, errors}."""
    fields = await read_fields(request, 4 * MAX_TEXT)
    text = fields.text("text", MAX_TEXT)
    return await workers.disk.do(lambda: _found(read_pasted(text, lora_names())))


async def dropped(request: web.Request) -> dict[str, Any]:
    """?name=…&size=…, and the file's bytes → {entries, errors}.

    For a .safetensors file, the header is enough. With 4 KiB of the data after it, a renamed file is found too.
    """
    if request.content_type != "application/octet-stream":
        raise Refused(
            415, "notAFile", "The body must be the file's bytes", "Send it as application/octet-stream."
        )
    name = query_text(request, "name", 1000)
    size = query_number(request, "size", None, MAX_FILE_SIZE)
    content = await read_body(request, MAX_FILE)
    return await workers.disk.do(lambda: _read_file(name, size, content))


def _found(found: Pasted) -> dict[str, Any]:
    return {
        "entries": [{**lora.entry.facts(), "weight_given": lora.weight_given} for lora in found.loras],
        "errors": [error_facts(error) for error in found.errors],
    }


def _read_file(name: str, size: int, content: bytes) -> dict[str, Any]:
    if len(content) > size:
        raise Refused(400, "invalidValue", "More bytes were sent than the file has", "Drop it again.", "size")
    if content[8:9] == b"{" and (is_safetensors(name) or name.lower().endswith(".latent")):
        saved = _workflow_of_latent(content, size)
        if saved:
            return _found(read_pasted(saved, lora_names()))
        return _read_lora(name, size, content)
    if len(content) < size:
        raise Refused(400, "invalidValue", "Only part of the file was sent", "Drop it again.", "size")
    if is_safetensors(name):
        try:
            parse_header(content, size)
        except LoraResolverError as error:
            return _found(Pasted((), (error.about(name.rpartition("/")[2]),)))
    return _found(read_dropped(io.BytesIO(content), lora_names()))


def _workflow_of_latent(content: bytes, size: int) -> str:
    try:
        metadata = parse_header(content, size).metadata
    except LoraResolverError:
        return ""
    return metadata.get("prompt") or metadata.get("workflow") or ""


def _read_lora(name: str, size: int, content: bytes) -> dict[str, Any]:
    """Finds the file in the `loras` folders that begins with these bytes. A page can't see a dropped file's path."""
    for listed in _same_beginning(name, size, content[:_COMPARED]):
        from ....lora_resolver import Resolver

        (file,) = Resolver(resolver_config()).local_files([f"local:{listed}"])
        model = name_of_file(file) if file is not None else None
        if file is not None and model is not None:
            found = _found(read_pasted(json.dumps([{"model": model, "weight": 1.0}])))
            for entry in found["entries"]:
                entry.update(weight=DEFAULT_WEIGHT, clip_weight=DEFAULT_WEIGHT, weight_given=False)
            return {**found, "items": [with_fit(item_of_file(model, file), None)]}
    shown = plain(PurePosixPath(name.replace("\\", "/")).name, 100)
    error = InvalidInput(
        f"{shown} isn't in any of ComfyUI's loras folders{_what_it_is(content, size)}",
        code="notInFolder",
        remedy="Put the file there, then drop it again.",
    )
    return {"entries": [], "errors": [error_facts(error)]}


def _same_beginning(name: str, size: int, content: bytes) -> Iterator[str]:
    """Files of this size that begin with these bytes.

    A file with another name counts only if the bytes include tensor data, because two LoRAs that were trained with the
    same settings may have identical headers.
    """
    own = name.replace("\\", "/").rpartition("/")[2]
    is_proof = len(content) >= min(size, 8 + int.from_bytes(content[:8], "little") + LEAST_NUMBERS)
    # The same name first: most dropped files haven't been renamed.
    for listed in sorted(lora_names(), key=lambda each: each.rpartition("/")[2] != own):
        if not (is_proof or listed.rpartition("/")[2] == own) or not is_safetensors(listed):
            continue
        path = _path_of(listed)
        try:
            if path is None or path.stat().st_size != size:
                continue
            with open_regular(path) as file:
                if len(content) >= min(size, LEAST_BEGINNING) and file.read(len(content)) == content:
                    yield listed
        except OSError:
            continue


def _path_of(listed: str) -> Path | None:
    return next((path for folder in lora_folders() if (path := folder / listed).is_file()), None)


def _what_it_is(content: bytes, size: int) -> str:
    try:
        architecture = detect_architecture(parse_header(content, size))
    except LoraResolverError:
        return ""
    return f" ({plain(architecture.sentence.rstrip('.'), 200)})" if architecture.sentence else ""
