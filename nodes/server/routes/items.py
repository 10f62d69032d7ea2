"""One LoRA as the page shows it: an ITEM.

    {"model": "civitai:1@2", "state": "on_disk" | "available" | "needs_token" | "hosted_only" | "not_found" |
     "offline" | "error", "title", "version", "file_name", "local_name" | null, "size" | null, "sha256" | null,
     "families": [ids], "family_names": [names], "families_from": "file" | "page" | null, "base_model", "kind" | null,
     "rank" | null, "trigger_words": [texts], "suggested_weight": {"weight", "least", "most", "source"} | null,
     "page" | null, "thumbnail" | null, "error": {…} | null, "pending": bool}

Text from services and sidecars is untrusted. It is cut to sane lengths, and control characters and marks that change
the writing direction are removed. Addresses are built here from the identifier, never passed on.
"""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ....lora_resolver import (
    AccessDenied,
    HostedOnly,
    LoraResolverError,
    NotFound,
    Offline,
    declared_families,
    family_name,
    find_preview,
    parse_identifier,
    without_ending,
)
from ..settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ....lora_resolver import FileRecord, LibraryFile, LoraRecord, PeekedLora, SuggestedWeight
    from .checkpoints import KnownCheckpoint

Item = dict[str, Any]

MAX_TITLE = 200
MAX_FILE_NAME = 255
MAX_WORDS = 200  # as many as an entry can choose
MAX_WORD = 500
MAX_MESSAGE = 2000

_HOSTED_CODES = frozenset({"downloadsDisabled"})
# Marks that change the writing direction, zero-width spaces and hyphens, and invisible letters (tags).
_STEERING = frozenset(
    map(
        chr,
        (
            *(0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF),
            *range(0x202A, 0x202F),
            *range(0x2060, 0x2070),
            *range(0xE0000, 0xE0080),
        ),
    )
)


def plain(text: str, limit: int = MAX_TITLE) -> str:
    """The text on one line of at most `limit` characters, without control characters and invisible marks."""
    kept = "".join(
        " " if character in "\t\n\r\u2028\u2029" else character
        for character in text[: limit * 4]
        if character in "\t\n\r"
        or not (unicodedata.category(character) in ("Cc", "Cs", "Cn") or character in _STEERING)
    )
    tidy = " ".join(kept.split())
    return tidy if len(tidy) <= limit else tidy[: limit - 1] + "…"


def plain_paragraphs(text: str, limit: int) -> str:
    """Like `plain`, for a text of several lines."""
    whole = "\n".join(plain(line, limit) for line in text[: limit * 2].split("\n")).strip()
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


def plain_words(words: Iterable[str]) -> list[str]:
    """The trigger words, without duplicates."""
    tidy = (plain(word, MAX_WORD) for word, _ in zip(words, range(MAX_WORDS)))
    return list(dict.fromkeys(word for word in tidy if word))


def error_facts(error: LoraResolverError) -> dict[str, Any]:
    """The error as responses show it. The texts that it quotes may be untrusted."""
    facts = error.as_dict()
    return {
        key: plain(value, MAX_MESSAGE) if isinstance(value, str) else value for key, value in facts.items()
    }


def item(model: str, state: str, **facts: Any) -> Item:
    """An ITEM with these facts. All other members are empty."""
    families: Sequence[str] = facts.pop("families", ())
    return {
        "model": model,
        "state": state,
        "title": "",
        "version": "",
        "file_name": "",
        "local_name": None,
        "size": None,
        "sha256": None,
        "families": list(families),
        "family_names": [family_name(family) for family in families],
        "families_from": "file" if families else None,
        "base_model": "",
        "creator": "",
        "kind": None,
        "rank": None,
        "trigger_words": [],
        "suggested_weight": None,
        "page": page_of(model),
        "thumbnail": None,
        "thumbnail_hidden": False,
        "only_films": False,
        "error": None,
        "pending": False,
        **facts,
    }


def item_of_file(model: str, file: LibraryFile) -> Item:
    """The ITEM of a file on this disk."""
    facts: dict[str, Any] = {
        **_said_by(file.record),
        "file_name": plain(file.path.name, MAX_FILE_NAME),
        "local_name": file.name,
        "size": file.size,
        "sha256": file.sha256,
        "kind": file.kind or None,
        "rank": file.rank,
        "trigger_words": plain_words(file.trigger_words),
        "suggested_weight": weight_facts(file.suggested_weight()),
    }
    if not facts.get("title"):
        facts["title"] = _repository_of(file) or plain(file.path.stem)
    if file.families:
        facts["families"] = file.families
        facts.pop("families_from", None)
    facts |= _picture_of(model, file.record, beside=find_preview(file.path) is not None)
    if facts.get("page") is None:
        facts["page"] = next(filter(None, map(page_of, file.identifiers)), None)
    if file.verdict == "unsound":
        facts["error"] = {
            "code": "unsoundFile",
            "parameter": "",
            "message": "The file's header is invalid",
            "remedy": "Download the file again.",
        }
        return item(model, "error", **facts)
    made = item(model, "on_disk", **facts)
    return made | {"verdict": file.verdict}


def _repository_of(file: LibraryFile) -> str:
    """The file's Hugging Face repository, which is a better title: half of the files there are called "lora"."""
    for text in file.identifiers:
        with contextlib.suppress(LoraResolverError):
            identifier = parse_identifier(text)
            if identifier.source == "huggingface":
                return plain(identifier.id)
    return ""


def item_of_peek(model: str, lora: PeekedLora) -> Item:
    """The ITEM of a LoRA that was looked up at its source."""
    architecture = lora.architecture
    facts: dict[str, Any] = {
        **_said_by(lora.record),
        "file_name": plain(lora.file_name, MAX_FILE_NAME),
        "size": lora.size,
        "sha256": lora.sha256,
        "trigger_words": plain_words(lora.trigger_words),
        "suggested_weight": weight_facts(lora.suggested_weight),
    }
    facts |= _picture_of(model, lora.record)
    if not facts.get("title"):
        facts["title"] = plain(without_ending(lora.file_name))
    if architecture is not None:
        facts |= {"kind": architecture.kind or None, "rank": architecture.rank}
        if architecture.families:
            facts["families"] = architecture.families
            facts.pop("families_from", None)
    made = item(model, "available", **facts)
    return made | ({"verdict": architecture.verdict} if architecture is not None else {})


def item_of_record(model: str, record: LoraRecord, error: LoraResolverError | None = None) -> Item:
    """The ITEM of a LoRA from a source's list; with `error`, what is known about one that isn't available."""
    file: FileRecord | None = next((file for file in record.files if file.primary), None)
    facts = {
        **_said_by(record),
        "file_name": plain(file.name, MAX_FILE_NAME) if file else "",
        "size": file.size if file else None,
        "sha256": file.sha256 if file else None,
        **_picture_of(model, record),
    }
    if error is None:
        return item(model, "available", **facts)
    return item(model, state_of(error), **{**facts, "error": error_facts(error)})


def item_of_error(model: str, error: LoraResolverError, *, pending: bool = False) -> Item:
    """The ITEM of a LoRA about which only the error is known."""
    return item(model, state_of(error), error=error_facts(error), pending=pending)


def _said_by(record: LoraRecord | None) -> dict[str, Any]:
    if record is None:
        return {}
    families = declared_families(record.base_model)
    return {
        "title": plain(record.name),
        "version": plain(record.version_name),
        "base_model": plain(record.base_model, 80),
        "creator": plain(record.creator, 80),
        "only_films": record.only_films,
        "families": families,
        "families_from": "page" if families else None,
        "trigger_words": plain_words(record.trigger_words),
        "suggested_weight": weight_facts(record.suggested_weight),
        "page": page_of(record.identifier),
    }


def weight_facts(suggested: SuggestedWeight | None) -> dict[str, Any] | None:
    """The suggested weight, as responses show it."""
    return None if suggested is None else {**asdict(suggested), "source": plain(suggested.source, 40)}


def state_of(error: LoraResolverError) -> str:
    """The state of a LoRA that isn't available for this reason."""
    if isinstance(error, HostedOnly) or error.code in _HOSTED_CODES:
        return "hosted_only"
    if isinstance(error, AccessDenied) and error.needs_token:
        return "needs_token"
    if isinstance(error, NotFound):
        return "not_found"
    return "offline" if isinstance(error, Offline) else "error"


def name_of_file(file: LibraryFile) -> str | None:
    """The identifier of a file on this disk for an array: its source's if possible, which works on any computer.

    None for a file that no identifier can name.
    """
    return next(filter(None, map(_canonical, (*file.identifiers, f"local:{file.name}"))), None)


def _canonical(text: str) -> str | None:
    try:
        return str(parse_identifier(text))
    except LoraResolverError:
        return None


def _picture_of(model: str, record: LoraRecord | None, *, beside: bool = False) -> dict[str, Any]:
    """This server's address of its preview picture, and whether the page blurs it: it shows more than the settings
    allow.

    The address contains the level, so that browsers don't show a cached answer after a change of the settings.
    """
    level = resolver_config().picture_level
    if beside:
        is_above = record is not None and record.preview_level > level
    elif record is not None and record.preview_url:
        is_above = record.picture(level)[1]
    else:
        return {}
    address = f"/air_lora/thumbnail?model={quote(model, safe='')}&level={level}"
    return {"thumbnail": address, "thumbnail_hidden": is_above}


def page_of(model: str) -> str | None:
    """The address of the model's page, built only from the identifier; None if it has no page."""
    try:
        identifier = parse_identifier(model)
    except LoraResolverError:
        return None
    if identifier.source == "civitai" and identifier.id:
        version = f"?modelVersionId={identifier.version}" if (identifier.version or "").isdecimal() else ""
        return f"https://civitai.com/models/{identifier.id}{version}"
    if identifier.source == "huggingface":
        page = f"https://huggingface.co/{quote(identifier.id)}"
        if identifier.path is None:
            return page
        return f"{page}/blob/{quote(identifier.version or 'main', safe='')}/{quote(identifier.path)}"
    return None


def with_fit(made: Item, checkpoint: KnownCheckpoint | None) -> Item:
    """The ITEM with "fits" ("yes", "no", "unknown") and the reason for a "no"."""
    verdict = made.pop("verdict", "")
    fits, reason = "unknown", None
    if verdict == "not_a_diffusion_lora":
        fits, reason = "no", "This file isn't a LoRA for a diffusion model."
    elif checkpoint is not None and checkpoint.families and made["families_from"] == "file":
        fits = "yes" if set(made["families"]) & set(checkpoint.families) else "no"
        if fits == "no":
            made_for = " or ".join(made["family_names"])
            loaded = " or ".join(map(family_name, checkpoint.families))
            reason = f"It was trained for {made_for}, but the checkpoint is {loaded}."
    return made | {"fits": fits, "reason": reason}
