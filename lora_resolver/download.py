"""A file record becomes a verified file.

    request ─▶ bytes ─▶ <name>.air-part ─▶ size, SHA-256, header ─▶ <name>

Nothing is ever written under the final name but by the rename at the end.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import LoraResolverError, StorageFailed, TransferFailed, VerificationFailed
from .safetensors_header import read_header
from .store import storage_error
from .transport import may_pass, refused_for_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .config import ResolverConfig
    from .records import FileRecord
    from .transport import Answer, Download, Transport
    from .work import Meter, Stop

__all__ = ["Order", "download", "file_sha256"]

PART_SUFFIX = ".air-part"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Order:
    """What to fetch, and where it goes."""

    file: FileRecord
    target: Path
    explain: Callable[[Answer], LoraResolverError | None]
    """What a refusal of this source means, or None where the status alone says it."""


def download(order: Order, transport: Transport, config: ResolverConfig, meter: Meter, stop: Stop) -> str:
    """Fetches and verifies the file, puts it at `order.target` and returns its SHA-256 in lower-case hex.

    Raises TransferFailed, AccessDenied, NotFound, VerificationFailed or StorageFailed; there is no file then.
    """
    part = order.target.with_name(order.target.name + PART_SUFFIX)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(config.tries):
            try:
                digest = _fetch(order, part, transport, config, meter)
                break
            except TransferFailed as error:
                if attempt == config.tries - 1 or error.code in (
                    "redirectRefused",
                    "redirectLoop",
                    "badAnswer",
                ):
                    raise
                transport.pause(attempt)
        meter.start("verify")
        _verify(order, part, digest)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        stop.check()
        part.replace(order.target)
    except OSError as error:
        raise storage_error(error, order.target) from error
    finally:
        part.unlink(missing_ok=True)
    return digest


def file_sha256(path: Path, meter: Meter, stop: Stop) -> str:
    """SHA-256 of a file on this disk, in lower-case hex; shows its progress and can be stopped."""
    meter.start("verify", file_name=path.name, total=path.stat().st_size)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            stop.check()
            digest.update(chunk)
            meter.add(len(chunk))
    return digest.hexdigest()


def _fetch(order: Order, part: Path, transport: Transport, config: ResolverConfig, meter: Meter) -> str:
    with transport.open(order.file.url) as answer:
        _check_answer(order, answer)
        total = answer.length if answer.length is not None else order.file.size
        _check_size(order, total, config.max_bytes)
        meter.start("download", file_name=order.target.name, total=total)
        digest = hashlib.sha256()
        received = 0
        with part.open("wb") as file:
            for chunk in answer.chunks(_CHUNK):
                received += len(chunk)
                if received > config.max_bytes:
                    raise _too_large(order, received, config.max_bytes)
                file.write(chunk)
                digest.update(chunk)
                meter.add(len(chunk))
        if answer.length is not None and received != answer.length:
            raise TransferFailed(
                f"{received:,} of {answer.length:,} bytes of {order.file.name!r} arrived",
                code="connectionLost",
                remedy="Run it again.",
            )
    return digest.hexdigest()


def _check_answer(order: Order, answer: Download) -> None:
    if answer.status != 200:
        refusal = answer.answer()
        explained = order.explain(refusal)
        if explained is not None:
            raise explained
        if may_pass(answer.status):
            raise refused_for_now(refusal)
        raise TransferFailed(
            f"the server answered {answer.status} to the download of {order.file.name!r}",
            code="badAnswer",
            remedy="Run it again later.",
        )
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml", "application/json", "text/plain"):
        raise TransferFailed(
            f"the server sent a {kind} page instead of {order.file.name!r}",
            code="badAnswer",
            remedy="It may want you to log in: set a token. Or open the address in a browser to see what it says.",
        )


def _check_size(order: Order, total: int | None, limit: int) -> None:
    if total is not None and total > limit:
        raise _too_large(order, total, limit)


def _too_large(order: Order, size: int, limit: int) -> StorageFailed:
    return StorageFailed(
        f"{order.file.name!r} is larger ({size:,} bytes) than the limit of {limit:,} bytes",
        code="tooLarge",
        remedy="Raise AIR_LORA_MAX_BYTES if you want it.",
    )


def _verify(order: Order, part: Path, digest: str) -> None:
    if order.file.sha256 is not None and digest != order.file.sha256:
        raise VerificationFailed(
            f"{order.file.name!r} arrived with SHA-256 {digest}, but {order.file.sha256} was promised",
            code="wrongHash",
            remedy="Nothing was kept. Run it again; if it stays so, the source serves a file that is not its own.",
        )
    read_header(part)
