"""CivitAI's JSON, read into records. Lenient: what is missing or of another type counts as not said."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..identifiers.file_names import is_safetensors
from ..records import MOST_MODEL_FILES, MOST_PREVIEWS, FileRecord, LoraRecord
from ..safe_files import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "lora_record",
    "mode",
    "model_id",
    "model_type",
    "models",
    "name",
    "next_cursor",
    "version_documents",
    "versions",
]

_MODEL_FILES = frozenset({"Model", "Pruned Model", "Diffusion Model", "UNet", "Enhancement LoRA"})

_TRAITS = ("format", "fp", "quantType", "size", "type")


def name(document: dict[str, Any]) -> str:
    """The model's name, from a model's document or a version's."""
    model = document.get("model")
    return _text((model if isinstance(model, dict) else document).get("name"))


def model_type(document: dict[str, Any]) -> str:
    """ "LORA", "Checkpoint", …; empty where a version's document does not say."""
    model = document.get("model")
    return _text(model.get("type")) if isinstance(model, dict) else ""


def model_id(document: dict[str, Any]) -> str | None:
    """Of the model that a version's document belongs to; None where it does not say."""
    number = _whole(document.get("modelId"))
    return None if number is None else str(number)


def mode(document: dict[str, Any]) -> str:
    """ "Archived", "TakenDown", or empty for a model like any other."""
    model = document.get("model")
    return _text(model.get("mode")) if isinstance(model, dict) else ""


def versions(model: dict[str, Any]) -> list[tuple[str, str]]:
    """(number, name) of the published versions in the site's order, the newest first."""
    listed = [each for each in _list(model.get("modelVersions")) if isinstance(each, dict)]
    return [
        (str(each["id"]), _text(each.get("name"))) for each in listed if _whole(each.get("id")) is not None
    ]


def version_documents(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The published versions in a model's document, each as its own document would be, the newest first."""
    about = {key: model.get(key) for key in ("name", "type", "mode", "creator")}
    return [
        {**each, "modelId": model.get("id"), "model": about}
        for each in _list(model.get("modelVersions"))
        if isinstance(each, dict)
        and _whole(each.get("id")) is not None
        and _whole(model.get("id")) is not None
    ]


def models(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The models in a search's answer."""
    return [each for each in _list(answer.get("items")) if isinstance(each, dict)]


def next_cursor(answer: dict[str, Any]) -> str | None:
    """What asks for the next page of a search."""
    about = answer.get("metadata")
    cursor = about.get("nextCursor") if isinstance(about, dict) else None
    return str(cursor) if isinstance(cursor, (str, int)) and cursor != "" else None


def lora_record(document: dict[str, Any], base_url: str) -> LoraRecord:
    """A version's document as a record. Addresses are built on `base_url`, so that a mirror serves all of it."""
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
        creator=_creator(document),
        document=json.dumps(document, indent=2, ensure_ascii=False),
    )


# What the site said before it had numbers, and what it calls a picture of which nobody has judged the level.
_OLD_LEVELS = {"none": 1, "soft": 2, "mature": 4, "x": 8}


def picture_level(image: dict[str, Any]) -> int:
    """1 (PG), 2, 4, 8 or 16 (XXX), and what lies above; 0 where it says nothing."""
    said = image.get("nsfwLevel", image.get("nsfw"))
    if isinstance(said, bool):
        return 8 if said else 1
    if isinstance(said, str):
        return _OLD_LEVELS.get(said.strip().lower(), 0)
    number = _whole(said)
    return number if number is not None and 0 <= number <= 64 else 0


def _creator(document: dict[str, Any]) -> str:
    model = document.get("model")
    about = model.get("creator") if isinstance(model, dict) else None
    return _text(about.get("username")) if isinstance(about, dict) else ""


def _file(entry: dict[str, Any], url: str, primary: bool) -> FileRecord:
    hashes, number = entry.get("hashes"), _whole(entry.get("id"))
    digest = _text(hashes.get("SHA256")).lower() if isinstance(hashes, dict) else ""
    scans = (_text(entry.get("pickleScanResult")), _text(entry.get("virusScanResult")))
    return FileRecord(
        name=_text(entry.get("name")) or "lora.safetensors",
        # The file id pins the very file: without it the choice follows the token owner's preferences on the site.
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
    """Bytes. The API gives bytes / 1024 as a float, which is exact once rounded."""
    if (
        isinstance(kilobytes, (int, float))
        and not isinstance(kilobytes, bool)
        and 0 < kilobytes < MOST_BYTES / 1024
    ):
        return round(kilobytes * 1024)
    return None


def _primary(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The file that the site would give for a version without a file id (civitai: model-helpers.ts getPrimaryFile)."""

    def score(entry: dict[str, Any]) -> tuple[bool, bool, float]:
        metadata = entry.get("metadata")
        about = metadata if isinstance(metadata, dict) else {}
        safetensors = about.get("format") == "SafeTensor" or is_safetensors(_text(entry.get("name")))
        details = 100 * safetensors + 10 * (about.get("size") == "pruned") + (about.get("fp") == "fp16")
        return entry.get("primary") is True, _text(entry.get("type")) in _MODEL_FILES, details

    return max(entries, key=score, default=None)


def _trigger_words(value: object) -> tuple[str, ...]:
    """Trained words, each once. Some authors put several into one, with commas; those stay as they are."""
    words = (_text(word).strip().strip(",").strip() for word in _list(value))
    return tuple(dict.fromkeys(word for word in words if word))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
