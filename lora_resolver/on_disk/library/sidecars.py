"""What other tools wrote next to a LoRA: which model it is, and what its SHA-256 was.

    <stem>.air.json            our own record, written when the file was verified
    <stem>.civitai.info        Civitai Helper and many others: CivitAI's JSON of the version
    <stem>.metadata.json       Lora Manager: its own fields, with CivitAI's JSON of the version in `civitai`
    <name>.rgthree-info.json   rgthree's Power Lora Loader: its own fields, with CivitAI's JSON in `raw.civitai`

None of them is proof: a file may have been replaced since. They are claims, compared with the file's own SHA-256 before
they are used. A claim without a SHA-256 is only used if no source is available.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...safe_files import read_json_file
from .. import civitai_json as api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ...records import LoraRecord

__all__ = ["SIDECARS", "Claim", "claims_beside", "sidecar_names"]

MAX_BYTES = 8 * 1024**2
"""Larger sidecars aren't read. CivitAI's JSON of a version with many pictures reaches a few hundred KB."""

_SITE = "https://civitai.com"


@dataclass(frozen=True)
class Claim:
    """What one sidecar claims: the file with this SHA-256 has this name."""

    identifier: str
    """Canonical text, with a file ID if the file isn't the version's main one. Empty: no name, only a hash."""
    sha256: str | None
    """64 lowercase hex digits, or None if the sidecar has no hash."""
    record: LoraRecord | None


def sidecar_names(file_name: str) -> Iterator[str]:
    """The names of the sidecars of `name.safetensors`, in order of precedence."""
    stem = file_name.rpartition(".")[0]
    for suffix in SIDECARS:
        yield (file_name if suffix in _AFTER_WHOLE_NAME else stem) + suffix


def claims_beside(path: Path, suffixes: tuple[str, ...]) -> list[Claim]:
    """The claims of the sidecars with these suffixes. A sidecar that is unreadable or invalid claims nothing."""
    claims: list[Claim] = []
    for suffix in suffixes:
        name = path.name if suffix in _AFTER_WHOLE_NAME else path.name.rpartition(".")[0]
        try:
            if not path.with_name(name + suffix).exists():
                continue
            content = read_json_file(path.with_name(name + suffix), MAX_BYTES)
            if isinstance(content, dict):
                claims += SIDECARS[suffix](content)
        except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            continue
    return list(dict.fromkeys(claims))


def _own(content: Mapping[str, Any]) -> list[Claim]:
    from ...records import LoraRecord

    digest = _digest(content.get("sha256"))
    record = content.get("record")
    known = None if record is None else LoraRecord.from_dict(record)
    names = [str(each) for each in content["identifiers"]]
    return [Claim(name, digest, known) for name in names if not name.startswith("sha256:")]


def _civitai_info(content: Mapping[str, Any]) -> list[Claim]:
    return _version(content)


def _lora_manager(content: Mapping[str, Any]) -> list[Claim]:
    claims = _with_own_hash(content, content.get("civitai"))
    level = api.picture_level({"nsfwLevel": content.get("preview_nsfw_level")})
    if not level:
        return claims
    # Only this value tells which picture Lora Manager put next to the file.
    return [
        replace(each, record=replace(each.record, previews=((each.record.preview_url, level),)))
        if each.record
        else each
        for each in claims
    ]


def _rgthree(content: Mapping[str, Any]) -> list[Claim]:
    raw = content.get("raw")
    return _with_own_hash(content, raw.get("civitai") if isinstance(raw, dict) else None)


SIDECARS: Mapping[str, Callable[[Mapping[str, Any]], list[Claim]]] = {
    ".air.json": _own,
    ".civitai.info": _civitai_info,
    ".metadata.json": _lora_manager,
    ".rgthree-info.json": _rgthree,
}
"""Suffix → reader. To support another tool, add one function and one line here."""

_AFTER_WHOLE_NAME = frozenset({".rgthree-info.json"})


def _with_own_hash(content: Mapping[str, Any], version: object) -> list[Claim]:
    """Claims of a tool that hashed the file itself: the hash tells which of the version's files this is."""
    digest = _digest(content.get("sha256"))
    claims = _version(version) if isinstance(version, dict) else []
    if digest is None:
        return claims
    exact = [claim for claim in claims if claim.sha256 == digest]
    if exact or not claims:
        return exact or [Claim("", digest, None)]
    if any(
        claim.sha256 for claim in claims
    ):  # not one of the version's files: the tool is mistaken, or the file has changed
        return [Claim("", digest, None)]
    return [replace(claim, sha256=digest) for claim in claims]


def _version(document: Mapping[str, Any]) -> list[Claim]:
    """Claims from CivitAI's JSON of a version: for each file with a hash, otherwise one for the version."""
    if not isinstance(document.get("id"), int) or not isinstance(document.get("modelId"), int):
        return []
    record = api.lora_record(dict(document), _SITE)
    known = replace(record, files=(), document="")
    claims: list[Claim] = []
    for file in record.files:
        if file.sha256 is None:
            continue
        if file.primary:
            claims.append(Claim(record.identifier, file.sha256, known))
        if file.id is not None:
            claims.append(Claim(f"{record.identifier}+{file.id}", file.sha256, known))
    return claims or [Claim(record.identifier, None, known)]


def _digest(value: object) -> str | None:
    text = value.strip().lower() if isinstance(value, str) else ""
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else None
