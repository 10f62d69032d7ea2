"""Reads CivitAI's JSON into records. Lenient: a value that is missing or of another type counts as absent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..identifiers.file_names import is_safetensors
from ..model_file.suggested_weight import suggested_weight_of
from ..records import MOST_MODEL_FILES, MOST_PREVIEWS, FileRecord, LoraRecord
from ..safe_files import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model_file.suggested_weight import SuggestedWeight

__all__ = [
    "creator",
    "lora_record",
    "mode",
    "model_id",
    "model_type",
    "models",
    "name",
    "next_cursor",
    "published",
    "suggested_weight",
    "tags",
    "terms",
    "version_documents",
    "versions",
]

_MODEL_FILES = frozenset({"Model", "Pruned Model", "Diffusion Model", "UNet", "Enhancement LoRA", "Negative"})

_TRAITS = ("format", "fp", "quantType", "size", "type")


def name(document: dict[str, Any]) -> str:
    """The model's name, from a model's document or a version's."""
    model = document.get("model")
    return _text((model if isinstance(model, dict) else document).get("name"))


def model_type(document: dict[str, Any]) -> str:
    """ "LORA", "Checkpoint", …; empty if the version's document doesn't contain it."""
    model = document.get("model")
    return _text(model.get("type")) if isinstance(model, dict) else ""


def model_id(document: dict[str, Any]) -> str | None:
    """The ID of the model that a version's document belongs to; None if the document doesn't contain it."""
    number = _whole(document.get("modelId"))
    return None if number is None else str(number)


def mode(document: dict[str, Any]) -> str:
    """ "Archived", "TakenDown", or empty for an ordinary model."""
    model = document.get("model")
    return _text(model.get("mode")) if isinstance(model, dict) else ""


def versions(model: dict[str, Any]) -> list[tuple[str, str]]:
    """(number, name) of the published versions in the site's order, newest first."""
    listed = [each for each in _list(model.get("modelVersions")) if isinstance(each, dict)]
    return [
        (str(each["id"]), _text(each.get("name"))) for each in listed if _whole(each.get("id")) is not None
    ]


def version_documents(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The published versions in a model's document, each in the form of a version's document, newest first."""
    about = {key: model.get(key) for key in ("name", "type", "mode", "creator")}
    return [
        {**each, "modelId": model.get("id"), "model": about}
        for each in _list(model.get("modelVersions"))
        if isinstance(each, dict)
        and _whole(each.get("id")) is not None
        and _whole(model.get("id")) is not None
    ]


def models(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The models in a search response."""
    return [each for each in _list(answer.get("items")) if isinstance(each, dict)]


def next_cursor(answer: dict[str, Any]) -> str | None:
    """The cursor for the next page of a search."""
    about = answer.get("metadata")
    cursor = about.get("nextCursor") if isinstance(about, dict) else None
    return str(cursor) if isinstance(cursor, (str, int)) and cursor != "" else None


def lora_record(document: dict[str, Any], base_url: str) -> LoraRecord:
    """Converts a version's document to a record. Addresses start with `base_url`, so that a mirror serves them all."""
    version, model = _whole(document.get("id")), _whole(document.get("modelId"))
    entries = [each for each in _list(document.get("files")) if isinstance(each, dict)]
    primary = _primary(entries)
    images = [each for each in _list(document.get("images")) if isinstance(each, dict)]
    pictures = [
        (_text(each.get("url")), picture_level(each))
        for each in images
        if each.get("type", "image") == "image" and _text(each.get("url"))
    ]
    files = tuple(
        _file(each, f"{base_url}/api/download/models/{version}", each is primary) for each in entries
    )
    choices = [file for file in files if file.is_model and file.id is not None]
    return LoraRecord(
        identifier=f"civitai:{model}@{version}",
        name=name(document),
        version_name=_text(document.get("name")),
        base_model=_text(document.get("baseModel")),
        trigger_words=_trigger_words(document.get("trainedWords")),
        files=files,
        model_files=tuple(
            (str(file.id), file.name, urlencode(file.traits)) for file in choices[:MOST_MODEL_FILES]
        )
        if len(choices) > 1
        else (),
        preview_url=pictures[0][0] if pictures else "",
        previews=tuple(pictures[:MOST_PREVIEWS]),
        only_films=not pictures and any(each.get("type") == "video" for each in images),
        page_url=f"{base_url}/models/{model}?modelVersionId={version}",
        creator=creator(document),
        suggested_weight=suggested_weight(document.get("settings")),
        document=json.dumps(document, indent=2, ensure_ascii=False),
    )


def suggested_weight(settings: object) -> SuggestedWeight | None:
    """The suggested weight from a version's settings. If the author set nothing, some of the site's responses contain
    1 with a range from -1 to 2 (civitai/civitai, generation.service.ts).
    """
    if not isinstance(settings, dict):
        return None
    weight, least, most = (settings.get(key) for key in ("strength", "minStrength", "maxStrength"))
    return (
        None if (weight, least, most) == (1, -1, 2) else suggested_weight_of(weight, least, most, "CivitAI")
    )


def published(document: dict[str, Any]) -> str:
    """The day on which a version was published; empty if the document doesn't contain it."""
    day = _text(document.get("publishedAt") or document.get("createdAt"))[:10]
    return day if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else ""


def tags(model: dict[str, Any]) -> tuple[str, ...]:
    """The tags of a model."""
    return tuple(filter(None, map(_text, _list(model.get("tags")))))


def terms(model: dict[str, Any]) -> dict[str, Any]:
    """What a model's author allows, with the field names of `Licence`. Contains only what the document states."""
    said: dict[str, Any] = {}
    if isinstance(model.get("allowNoCredit"), bool):
        said["credit_needed"] = not model["allowNoCredit"]
    if isinstance(model.get("allowDerivatives"), bool):
        said["derivatives"] = model["allowDerivatives"]
    if isinstance(model.get("allowDifferentLicense"), bool):
        said["same_licence"] = not model["allowDifferentLicense"]
    sold = model.get("allowCommercialUse")
    if isinstance(sold, str):  # "{Image,RentCivit}" in older responses
        sold = sold.strip("{}").split(",")
    if isinstance(sold, list):
        said["commercial"] = tuple(each for each in map(_text, sold) if each and each != "None")
    return said


# The values that the site used before it had numbers, including the one for a picture without a rating.
_OLD_LEVELS = {"none": 1, "soft": 2, "mature": 4, "x": 8}


def picture_level(image: dict[str, Any]) -> int:
    """1 (PG), 2, 4, 8, 16 (XXX), or a higher value; 0 if the document doesn't contain it."""
    said = image.get("nsfwLevel", image.get("nsfw"))
    if isinstance(said, bool):
        return 8 if said else 1
    if isinstance(said, str):
        return _OLD_LEVELS.get(said.strip().lower(), 0)
    number = _whole(said)
    return number if number is not None and 0 <= number <= 64 else 0


def creator(document: dict[str, Any]) -> str:
    """The user who published it; empty if the document doesn't contain it."""
    model = document.get("model")
    about = model.get("creator") if isinstance(model, dict) else None
    return _text(about.get("username")) if isinstance(about, dict) else ""


def _file(entry: dict[str, Any], url: str, primary: bool) -> FileRecord:
    hashes, number = entry.get("hashes"), _whole(entry.get("id"))
    digest = _text(hashes.get("SHA256")).lower() if isinstance(hashes, dict) else ""
    scans = (_text(entry.get("pickleScanResult")), _text(entry.get("virusScanResult")))
    return FileRecord(
        name=_text(entry.get("name")) or "lora.safetensors",
        # The file ID selects this exact file. Without it, the site chooses by the token owner's preferences.
        url=url if number is None else f"{url}?fileId={number}",
        size=_size(entry.get("sizeKB")),
        sha256=digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None,
        id=number,
        format=_format(entry),
        traits=_traits(entry),
        primary=primary,
        is_model=_text(entry.get("type")) in _MODEL_FILES
        and (is_safetensors(_text(entry.get("name"))) or _format(entry) == "SafeTensor"),
        scan="Danger" if "Danger" in scans else scans[0],
    )


def _format(entry: dict[str, Any]) -> str:
    metadata = entry.get("metadata")
    return _text(metadata.get("format")) if isinstance(metadata, dict) else ""


def _traits(entry: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    metadata = entry.get("metadata")
    said = {**(metadata if isinstance(metadata, dict) else {}), "type": entry.get("type")}
    return tuple((key.lower(), _text(said.get(key)).lower()) for key in _TRAITS if _text(said.get(key)))


def _size(kilobytes: object) -> int | None:
    """Bytes. The API returns bytes / 1024 as a float, which is exact after rounding."""
    if (
        isinstance(kilobytes, (int, float))
        and not isinstance(kilobytes, bool)
        and 0 < kilobytes < MOST_BYTES / 1024
    ):
        return round(kilobytes * 1024)
    return None


def _primary(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The file that the site serves for a version without a file ID (civitai: model-helpers.ts getPrimaryFile)."""

    def score(entry: dict[str, Any]) -> tuple[bool, bool, float]:
        metadata = entry.get("metadata")
        about = metadata if isinstance(metadata, dict) else {}
        safetensors = about.get("format") == "SafeTensor" or is_safetensors(_text(entry.get("name")))
        details = 100 * safetensors + 10 * (about.get("size") == "pruned") + (about.get("fp") == "fp16")
        return entry.get("primary") is True, _text(entry.get("type")) in _MODEL_FILES, details

    return max(entries, key=score, default=None)


def _trigger_words(value: object) -> tuple[str, ...]:
    """Trained words without duplicates. Some authors put several into one, with commas; those stay as they are."""
    words = (_text(word).strip().strip(",").strip() for word in _list(value))
    return tuple(dict.fromkeys(word for word in words if word))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
