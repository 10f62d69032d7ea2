"""modelSearch: searches this disk and CivitAI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...lora_resolver import Answer, InvalidInput, LoraResolverError, failed
from ..server.model_folders import listed_files
from ..server.routes import workers
from ..server.routes.searching import find_civitai, find_local
from ..server.settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 100
"""Maximum results of a response, and of CivitAI's page. Later results aren't available here."""
MOST_OFFSET = 100_000
_READ = frozenset({"taskType", "taskUUID", "search", "limit", "offset", "category"})


async def model_search(task: Mapping[str, Any]) -> Answer:
    """One item with `results`, as the hosted service answers."""
    query = _text(task, "search")[:200]
    limit = _number(task, "limit", 20, MOST)
    offset = _number(task, "offset", 0, MOST_OFFSET)
    category = _text(task, "category").lower() or "lora"
    left_out = [
        {"parameter": name, "reason": "This search can't filter by it."}
        for name, value in task.items()
        if name not in _READ and value not in (None, "", [], False)
    ]
    if category == "checkpoint":
        names = [name for name in listed_files("checkpoint") if query.lower() in name.lower()]
        found = [_file(name) for name in names]
    elif category in ("lora", "lycoris"):
        found = [_item(each) for each in await workers.library.do(lambda: find_local(query))]
        if len(found) < offset + limit and not resolver_config().offline:
            try:
                more = await workers.network.do(lambda: find_civitai(query, min(MOST, offset + limit)))
            except LoraResolverError as error:  # the results from this disk are an answer too
                more = []
                left_out.append(
                    {"parameter": "search", "reason": f"CivitAI wasn't searched: {error.message}."}
                )
            known = {each["air"] for each in found}
            found += [made for each in more if (made := _item(each))["air"] not in known]
    else:
        return failed(
            task,
            "unsupportedValue",
            f"The category {category[:40]!r} isn't supported. Send lora or checkpoint",
            "category",
        )
    return Answer(
        [
            {
                "taskType": "modelSearch",
                "taskUUID": task["taskUUID"],
                "results": found[offset : offset + limit],
                "totalResults": len(found),
                **({"leftOut": left_out} if left_out else {}),
            }
        ]
    )


def _number(task: Mapping[str, Any], name: str, otherwise: int, most: int) -> int:
    value = task.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput(
            f"{str(value)[:40]!r} isn't a whole number of 0 or more",
            code="invalidType",
            parameter=name,
            remedy=f"Send a number from 0 to {most}.",
        )
    return min(value, most)


def _text(task: Mapping[str, Any], name: str) -> str:
    value = task.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(
            f"{str(value)[:40]!r} isn't a string", code="invalidType", parameter=name, remedy="Send a string."
        )
    return value


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "air": item["model"],
        "name": item["title"] or item["file_name"] or item["model"],
        "version": item["version"],
        "category": "lora",
        "architecture": next(iter(item["families"]), ""),
        "tags": [],
        "heroImage": None,
        "private": False,
        "comment": "on this disk" if item["state"] == "on_disk" else "",
        "positiveTriggerWords": ", ".join(item["trigger_words"]),
    }


def _file(name: str) -> dict[str, Any]:
    plain = name.replace("\\", "/")
    return {
        "air": f"local:{plain}",
        "name": plain.rpartition("/")[2],
        "version": "",
        "category": "checkpoint",
        "architecture": "",
        "tags": [],
        "heroImage": None,
        "private": False,
        "comment": "on this disk",
        "positiveTriggerWords": "",
    }
