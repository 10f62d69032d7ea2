"""Trigger words: what a prompt must contain for a LoRA to take effect. Their sources, the most reliable first:

a source's record                   CivitAI's `trainedWords`, also where other tools store them next to the file
<stem>.json                         what the user of AUTOMATIC1111's web UI or Forge wrote as "activation text"
<stem>.metadata.json                what the user of Lora Manager wrote, for a file that CivitAI does not know
<name>.rgthree-info.json            the same in rgthree's nodes, without words that these only counted in the file
modelspec.trigger_phrase            the author's own words in the file (https://github.com/Stability-AI/ModelSpec)
ss_tag_frequency                    sd-scripts' count of the captions' tags: those that every picture had
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..safe_files import parse_json, read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["trigger_words"]

MAX_FILE_BYTES = 1024**2
"""Of a note next to the file. Typical notes have a few hundred bytes."""
MAX_LENGTH = 80
"""Characters. A longer tag is the caption of one picture."""
MAX_TAGS = 3
"""Of one training folder: automatic captions give every picture a dozen tags."""
FEWEST_PICTURES = 3
"""With fewer pictures, every tag is in all of them."""

# Tags that taggers add to nearly every picture, and that no author chooses as a trigger word.
_COMMONPLACE = frozenset(
    {
        *("1girl", "1boy", "1other", "solo", "no humans", "looking at viewer", "simple background"),
        *("white background", "grey background", "black background", "masterpiece", "best quality"),
        *(
            "high quality",
            "highres",
            "absurdres",
            "realistic",
            "general",
            "sensitive",
            "score_9",
            "score_8_up",
        ),
    }
)


def trigger_words(
    recorded: tuple[str, ...], metadata: Mapping[str, str] | None, path: Path | None
) -> tuple[str, ...]:
    """The trigger words, without duplicates.

    `recorded` are the words in a source's record, `metadata` is from the file's header, and `path` is the file's path;
    empty or None where there is none.
    """
    if recorded:
        return recorded
    for words in (*_in_notes(path), *_in_metadata(metadata or {})):
        if words:
            return tuple(dict.fromkeys(words))
    return ()


def _in_notes(path: Path | None) -> Iterator[list[str]]:
    if path is None:
        return
    yield _parts(_note(path.with_suffix(".json")).get("activation text"))
    manager = _note(path.with_suffix(".metadata.json")).get("civitai")
    yield _texts(manager.get("trainedWords") if isinstance(manager, dict) else None)
    rgthree = _note(path.with_name(f"{path.name}.rgthree-info.json")).get("trainedWords")
    words = [each for each in rgthree if isinstance(each, dict)] if isinstance(rgthree, list) else []
    counted = [
        each for each in words if each.get("metadata") and not each.get("user") and not each.get("civitai")
    ]
    yield _texts([each.get("word") for each in words if each not in counted])


def _note(path: Path) -> dict[str, Any]:
    try:
        if not path.exists():  # faster than a failed attempt to open it
            return {}
        return _object(read_bounded(path, MAX_FILE_BYTES))
    except (OSError, ValueError):
        return {}


def _texts(values: object) -> list[str]:
    listed = values if isinstance(values, list) else []
    return [each.strip() for each in listed if isinstance(each, str) and each.strip()]


def _in_metadata(metadata: Mapping[str, str]) -> Iterator[list[str]]:
    yield _parts(metadata.get("modelspec.trigger_phrase"))
    pictures = _object(metadata.get("ss_dataset_dirs"))
    words: list[str] = []
    for folder, tags in _object(metadata.get("ss_tag_frequency")).items():
        if isinstance(tags, dict):
            words += _in_every_picture(tags, pictures.get(folder))
    yield words


def _in_every_picture(tags: dict[str, Any], facts: object) -> list[str]:
    """The tags that all pictures have. Without a count of pictures, the most frequent tag's count is used instead."""
    counts = {tag.strip(): count for tag, count in tags.items() if isinstance(count, int)}
    counted = facts.get("img_count") if isinstance(facts, dict) else None
    needed = counted if isinstance(counted, int) else max(counts.values(), default=0)
    if needed < FEWEST_PICTURES:
        return []
    return [
        tag
        for tag, count in counts.items()
        if count >= needed and 0 < len(tag) <= MAX_LENGTH and tag.lower() not in _COMMONPLACE
    ][:MAX_TAGS]


def _parts(text: object) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else []


def _object(text: str | bytes | None) -> dict[str, Any]:
    try:
        content = parse_json(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
