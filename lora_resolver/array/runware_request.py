"""Finds the `lora` array in pasted JSON: by itself, in a Runware task, or in an array of tasks.

Request format: https://runware.ai/docs/image-inference/api-reference (a request is an array of task objects).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..text import quoted
from .lenient_json import ObjectWithDuplicates

__all__ = ["find_lora_members"]

# An object with any of these keys is a task; an entry of a `lora` array has none of them. Both may have `model`, which
# is a task's checkpoint. A task without `taskType` may be an excerpt, as in the documentation's samples.
_TASK_KEYS = frozenset({"taskType", "taskUUID", "positivePrompt"})
# Other programs' names, and likely mistakes, for the member that Runware calls `lora`.
_ALMOST_LORA = frozenset(
    {"lora", "loras", "loraarray", "lora_array", "lora-array", "loramodels", "lora_models"}
)


def find_lora_members(document: object) -> list[object]:
    """The `lora` value of every task in `document`, unless it is empty; `[document]` if that is the array itself.

    An object that isn't a task counts as the only entry of an array. Raises InvalidInput for a document that is neither
    an array nor an object, for tasks mixed with entries, and for tasks with their LoRAs under another name.
    """
    if document is None:
        return []
    if isinstance(document, Mapping):
        return _members_of([document]) if _is_task(document) else [document]
    if not isinstance(document, (list, tuple)):
        raise InvalidInput(
            "Expected an array",
            code="invalidType",
            parameter="lora",
            remedy='Write [{ "model": "civitai:120096@135931", "weight": 0.7 }].',
        )
    if any(isinstance(item, Mapping) and _is_task(item) for item in document):
        return _members_of(document)
    return [document] if document else []


def _members_of(tasks: list[Any] | tuple[Any, ...]) -> list[object]:
    members = []
    for position, task in enumerate(tasks):
        if not (isinstance(task, Mapping) and _is_task(task)):
            raise InvalidInput(
                f"Item {position} isn't a task, but other items are",
                code="invalidType",
                parameter="lora",
                remedy="Paste either complete Runware tasks or the entries of one lora array.",
            )
        if isinstance(task, ObjectWithDuplicates) and "lora" in task.duplicates:
            raise InvalidInput(
                'The key "lora" appears more than once in one task',
                code="duplicateKey",
                parameter="lora",
                remedy="Put all entries into one array.",
            )
        _refuse_other_names(task)
        if task.get("lora") not in (None, "", [], ()):
            members.append(task["lora"])
    return members


def _is_task(item: Mapping[Any, Any]) -> bool:
    return any(key in _TASK_KEYS or _means_lora(key) for key in item)


def _means_lora(key: object) -> bool:
    return isinstance(key, str) and (key.lower() in _ALMOST_LORA or key.lower() == "lycoris")


def _refuse_other_names(task: Mapping[Any, Any]) -> None:
    """Rejects other names of `lora`. Runware ignores or rejects them; to treat them as no LoRA gives a wrong image."""
    for key, value in task.items():
        if key == "lora" or not _means_lora(key) or value in (None, "", [], ()):
            continue
        if key.lower() == "lycoris":
            raise InvalidInput(
                "This key isn't supported",
                code="unknownKey",
                parameter="lycoris",
                remedy='Move its entries to "lora", which also accepts LyCORIS files.',
            )
        raise InvalidInput(
            f'Unknown key {quoted(key)}. Did you mean "lora"?', code="unknownKey", parameter="lora"
        )
