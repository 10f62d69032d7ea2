"""Reads LoRAs from other programs' picture metadata: as JSON, or as A1111's lines of text.

    CivitAI         "Civitai resources: [{…}]" in the text; civitaiResources, resources, additionalNetworks in JSON
    A1111, Forge    <lora:name:0.7> in the prompt; "AddNet Model 1: name(hash), AddNet Weight A 1: 0.5"
    Fooocus         {"lora_combined_1": "name : 0.5"}; "Lora weights: …"; "LoRA 1: name : 0.5" in its log
    SwarmUI         {"sui_image_params": {"loras": […], "loraweights": […]}}
    InvokeAI        {"loras": [{"model": {…}, "weight": 0.75}]}
    Draw Things     {"lora": [{"model": "name.ckpt", "weight": 0.8}]}; "LoRA 1 Model: …, LoRA 1 Weight: …"
    Lora Manager    a recipe, {"loras": [{"file_name", "modelVersionId", "strength"}]}; "Recipe metadata: {…}"
    fal and others  {"loras": [{"path": "https://…", "scale": 0.8}]}

One text often contains the same LoRAs several times: as tags, as hashes, as resources. Only the most exact one is read.
A list without weights (`Lora hashes`) isn't used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .entries_of_others import NotUnderstood, OtherLora, file_stem, key_of, other_lora
from .prompt_tags import PromptTag, prompt_tags

__all__ = ["RECORD_MARKS", "from_tag", "loras_in_document", "loras_in_record_text"]

RECORD_MARKS = ("Steps: ", "Civitai resources:", "Recipe metadata:", "Civitai metadata:", "AddNet Model ")
"""Texts that don't occur in program text or in a list."""
_LORA_TYPES = frozenset({"lora", "lycoris", "dora", "locon", "loha", "lokr"})
_INSIDE = (
    "sui_image_params",
    "invokeai_metadata",
    "meta",
    "metadata",
    "parameters",
    "input",
    "gen_params",
    "extraMetadata",
)
_MAX_DEPTH = 4
_TASK = frozenset({"taskType", "taskUUID", "positivePrompt"})
_FOOOCUS = re.compile(r"lora_combined_[0-9]{1,3}|LoRA [0-9]{1,3}")
_NUMBER = r"[-+]?(?:[0-9]{1,3}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})"
_STEPS = re.compile(r"(?:^|[\n.,])\s*\.?Steps: ?[0-9]")
_ONE_WEIGHT = re.compile(rf"\s*(?P<name>.+?)\s*:\s*(?P<weight>{_NUMBER})\s*", re.DOTALL)
_ADDNET = re.compile(
    r"AddNet (?P<what>Model|Weight A|Weight B|Weight) (?P<number>[0-9]{1,2}): (?P<value>[^,\n]{1,300})"
)
_COMFY_SAVER = re.compile(
    r"Lora_(?P<number>[0-9]{1,3}) (?P<what>Model name|Strength model|Strength clip): (?P<value>[^,\n]{1,300})"
)
_DRAW_THINGS = re.compile(
    rf"LoRA(?: [0-9]{{1,3}})? Model: (?P<name>[^,\n]{{0,300}}), LoRA(?: [0-9]{{1,3}})? Weight: (?P<weight>{_NUMBER})"
)
_LOG_LINE = re.compile(
    rf"\W*(?:lora_combined_|LoRA )[0-9]{{1,3}}\"?[:\t ]{{1,4}}\"?(?P<value>[^\"\n]{{1,400}} : {_NUMBER})\"?,?\s*$"
)
_LONGEST_LINE = 500
_A1111 = re.compile(r"Version: (?:v[0-9]|f[0-9]|neo|1\.[0-9]+\.)")
_AWAY = frozenset({"none", ""})


def loras_in_document(document: object, depth: int = 0) -> list[OtherLora] | None:
    """The LoRAs in another program's JSON; None if the format is unknown. Raises NotUnderstood."""
    if isinstance(document, str) and document.lstrip()[:1] == "{" and depth:
        document = _json(document)
    if isinstance(document, list):
        return _of_list(document)
    if not isinstance(document, Mapping) or depth > _MAX_DEPTH:
        return None
    if _TASK.intersection(document):
        return None
    for read in (_of_fooocus, _of_swarm, _of_civitai, _of_lists, _of_draw_things):
        found = read(document)
        if found is not None:
            return found
    for key in _INSIDE:
        found = loras_in_document(document.get(key), depth + 1)
        if found is not None:
            return found
    return None


def _of_list(document: list[Any]) -> list[OtherLora] | None:
    entries = [each for each in document if isinstance(each, Mapping)]
    if not entries or len(entries) < len(document):
        return None
    if all("type" in each or "air" in each for each in entries) and any(
        key in each for each in entries for key in ("modelVersionId", "air")
    ):
        return _resources(entries)
    if any("model" in each or _TASK.intersection(each) for each in entries):
        return None  # a Runware array, or its requests
    # Lora Manager's rows, CivitAI's node, fal's list.
    if all(
        ("strength" in each or "scale" in each)
        and any(key in each for key in ("name", "path", "air", "file_name"))
        for each in entries
    ):
        return [other_lora(each) for each in entries]
    return None


def _of_fooocus(document: Mapping[str, Any]) -> list[OtherLora] | None:
    texts = [
        value for key, value in document.items() if _FOOOCUS.fullmatch(str(key)) and isinstance(value, str)
    ]
    if texts:
        return [each for each in map(_of_pair, texts) if each is not None]
    listed = document.get("loras")
    if isinstance(listed, str) and listed.startswith("Loras:"):
        return [from_tag(tag) for tag in prompt_tags(listed[6:].replace("<", "<lora:"))]
    if not isinstance(listed, list) or not listed or not all(isinstance(each, list) for each in listed):
        return None
    found = []
    for row in listed:
        texts = [each for each in row if isinstance(each, str)]
        numbers = [each for each in row if isinstance(each, (int, float)) and not isinstance(each, bool)]
        switches = [each for each in row if isinstance(each, bool)]
        other = re.fullmatch(rf"({_NUMBER}) - (.+)", texts[1]) if len(texts) > 1 else None
        if other:  # RuinedFooocus: [hash, "0.1 - name"]
            found.append(OtherLora(file_stem(other[2]), (float(other[1]),), is_file=True))
        elif texts and len(numbers) == 1:
            if texts[0].lower() not in _AWAY:
                found.append(_of_file(texts[0], float(numbers[0]), enabled=switches != [False]))
        else:
            raise NotUnderstood(f"unsupported row in loras: {json.dumps(row)[:80]}")
    return found


def _of_pair(text: str) -> OtherLora | None:
    """Parses `name : 0.5` or `True : name : 0.5`."""
    parts = text.rsplit(" : ", 1)
    if len(parts) == 2 and re.fullmatch(_NUMBER, parts[1].strip()):
        switch, colon, name = parts[0].partition(" : ")
        enabled = not (colon and switch.strip().lower() == "false")
        name = name if colon and switch.strip().lower() in ("true", "false") else parts[0]
        return None if name.strip().lower() in _AWAY else _of_file(name, float(parts[1]), enabled=enabled)
    raise NotUnderstood(f"unsupported entry {text[:60]!r}")


def _of_file(name: str, weight: float, *, enabled: bool = True) -> OtherLora:
    return OtherLora(file_stem(name.replace("\\", "/")), (weight,), is_file=True, enabled=enabled)


def _of_swarm(document: Mapping[str, Any]) -> list[OtherLora] | None:
    inner = document.get("sui_image_params")
    params = inner if isinstance(inner, Mapping) else document
    names = _listed(params.get("loras"))
    if names is None or not any(
        key in params for key in ("loraweights", "loratencweights", "lorasectionconfinement")
    ):
        # Swarm omits `loras` if there are none.
        return [] if isinstance(inner, Mapping) and "loras" not in params else None
    weights, text_weights = (
        _listed(params.get("loraweights")) or [],
        _listed(params.get("loratencweights")) or [],
    )
    found = []
    for position, name in enumerate(names):
        numbers = [_float(each[position], name) for each in (weights, text_weights) if position < len(each)]
        if position >= len(weights):
            numbers = [1.0, *numbers]
        found.append(OtherLora(file_stem(name), tuple(numbers), is_file=True))
    return found


def _listed(value: object) -> list[str] | None:
    """A list. SwarmUI writes a list, or text with commas."""
    if isinstance(value, str):
        return [each.strip() for each in value.split(",") if each.strip()]
    if isinstance(value, list) and all(isinstance(each, (str, int, float)) for each in value):
        return [str(each) for each in value]
    return None


def _float(text: str, name: str) -> float:
    if not re.fullmatch(rf"\s*{_NUMBER}\s*", text):
        raise NotUnderstood(f"the weight of {name[:60]} isn't a number: {text[:20]!r}")
    return float(text)


def _of_civitai(document: Mapping[str, Any]) -> list[OtherLora] | None:
    networks = document.get("additionalNetworks")
    if isinstance(networks, Mapping):
        entries = [{**each, "air": air} for air, each in networks.items() if isinstance(each, Mapping)]
        return _resources(entries)
    for key in ("civitaiResources", "additionalResources", "resources"):
        listed = document.get(key)
        if isinstance(listed, list) and listed and all(isinstance(each, Mapping) for each in listed):
            return _resources(listed)
    return None


def _resources(entries: list[Any]) -> list[OtherLora]:
    return [other_lora(_resource(each)) for each in entries if _is_lora(each)]


def _resource(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Only the fields with its name and weight: `modelName` is a title here, not a file."""
    kept = (
        "air",
        "modelVersionId",
        "weight",
        "strength",
        "strengthClip",
        "on",
        "enabled",
        "active",
        "exclude",
    )
    named = {key: entry[key] for key in kept if entry.get(key) is not None}
    if "air" in named:
        named.pop("modelVersionId", None)
    if not {"air", "modelVersionId"} & set(named):
        named["name"] = entry.get("name")
    return named


def _is_lora(entry: Mapping[str, Any]) -> bool:
    said = str(entry.get("type") or "")
    inside = re.search(r"\bType = (\w+)", said)  # ImageJobNetworkParams { Strength = 0.4, Type = lora }
    air = re.match(r"(?:urn:)?(?:air:)?[^:]+:(\w+):", str(entry.get("air") or ""))
    kind = inside[1] if inside else said or (air[1] if air else "")
    if kind:
        return kind.lower() in _LORA_TYPES
    # Lora Manager's Save Image omits the type if it doesn't know the model, and writes a weight only for LoRAs.
    return any(entry.get(key) is not None for key in ("weight", "strength"))


def _of_lists(document: Mapping[str, Any]) -> list[OtherLora] | None:
    high, low = document.get("loras"), document.get("loras_low_noise")
    if high is None:
        high = document.get("image_loras")
    if not isinstance(high, list) or not all(isinstance(each, Mapping) for each in high):
        return None
    found = [other_lora(each) for each in high]
    if isinstance(low, list) and low and all(isinstance(each, Mapping) for each in low):
        expert = {"transformer": "low"}
        found = [other_lora({**each, "transformer": "high"}) for each in high]
        found += [other_lora({**each, **expert}) for each in low]
    return found


def _of_draw_things(document: Mapping[str, Any]) -> list[OtherLora] | None:
    listed = document.get("lora")
    is_theirs = isinstance(document.get("v2"), Mapping) or {"c", "uc"} <= set(document)
    if not is_theirs or not isinstance(listed, list):
        return [] if is_theirs and listed is None and "sampler" in document else None
    found = []
    for each in listed:
        if not isinstance(each, Mapping) or not isinstance(each.get("model") or each.get("file"), str):
            raise NotUnderstood("an entry of lora has no model")
        found.append(other_lora({"file": each.get("model") or each["file"], "weight": each.get("weight")}))
    return found


def loras_in_record_text(text: str) -> list[OtherLora] | None:
    """The LoRAs of "generation data" in the format of A1111 and compatible programs; None for any other text.

    Raises NotUnderstood.
    """
    for field in ("Civitai resources:", "Recipe metadata:", "Civitai metadata:"):
        document = _json_behind(text, field)
        found = None
        if isinstance(document, (list, dict)) and document:
            found = _resources(document) if isinstance(document, list) else loras_in_document(document)
        if found is not None:
            return found
    fields = [*_of_comfy_savers(text), *_of_log(text)]
    if fields:
        return fields
    added = _of_addnet(text)
    if not added and ("Steps:" not in text or not _STEPS.search(text)):
        return None  # only a prompt, or no metadata at all
    first_is_text = bool(_A1111.search(text))
    found = [from_tag(tag, first_is_text=first_is_text) for tag in prompt_tags(text)] + added
    if not found:
        nameless = _hashed_names(text)
        if nameless:
            raise NotUnderstood(f"only hashes, and no weights, are given for {', '.join(nameless[:5])}")
    return found


def from_tag(tag: PromptTag, *, first_is_text: bool = False) -> OtherLora:
    """The LoRA of a prompt's tag."""
    weights = tag.weights_of_a1111 if first_is_text else tag.weights
    return OtherLora(
        tag.name, weights or (1.0,), is_file=not tag.is_identifier, extensions=tuple(tag.extensions().items())
    )


def _json_behind(text: str, field: str) -> Any:
    at = text.find(field)
    return _json(text[at + len(field) :]) if at >= 0 else None


def _json(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _of_comfy_savers(text: str) -> list[OtherLora]:
    found: dict[str, dict[str, str]] = {}
    for match in _COMFY_SAVER.finditer(text):
        found.setdefault(match["number"], {})[key_of(match["what"])] = match["value"].strip()
    return [
        other_lora({"file": row["modelname"], **{key: row[key] for key in row if key.startswith("strength")}})
        for row in found.values()
        if row.get("modelname")
    ]


def _of_log(text: str) -> list[OtherLora]:
    """Draw Things' fields, Fooocus' log, and Fooocus' `Lora weights`."""
    found = [
        _of_file(match["name"], float(match["weight"]))
        for match in _DRAW_THINGS.finditer(text)
        if match["name"]
    ]
    lines = (line for line in text.splitlines() if len(line) < _LONGEST_LINE and "lora" in line.lower())
    pairs = (_of_pair(match["value"]) for line in lines if (match := _LOG_LINE.match(line)))
    found += [each for each in pairs if each is not None]
    weights = re.search(r'Lora weights: (?:"([^"\n]*)"|([^,\n]*))', text)
    if weights and not found:
        for part in (weights[1] or weights[2]).split(", "):
            one = _ONE_WEIGHT.fullmatch(part)
            if not one:
                raise NotUnderstood(f"unsupported entry {part[:60]!r} in Lora weights")
            found.append(_of_file(one["name"], float(one["weight"])))
    return found


def _of_addnet(text: str) -> list[OtherLora]:
    found: dict[str, dict[str, str]] = {}
    for match in _ADDNET.finditer(text):
        found.setdefault(match["number"], {})[match["what"]] = match["value"].strip()
    enabled = "AddNet Enabled: False" not in text
    loras = []
    for row in found.values():
        name = re.sub(r"\([0-9a-fA-F]+\)\Z", "", row.get("Model", ""))
        if name.lower() in _AWAY:
            continue
        model = row.get("Weight A", row.get("Weight"))
        if model is None:
            raise NotUnderstood(f"the weight of {name[:60]} is missing")
        numbers = (model, *((row["Weight B"],) if "Weight B" in row else ()))
        loras.append(OtherLora(file_stem(name), tuple(_float(each, name) for each in numbers), True, enabled))
    return loras


def _hashed_names(text: str) -> list[str]:
    listed = re.search(r'Lora hashes: (?:"([^"\n]*)"|([^,\n]*))', text)
    names = [part.rpartition(": ")[0] for part in (listed[1] or listed[2]).split(", ")] if listed else []
    hashes = _json_behind(text, "Hashes:")
    if isinstance(hashes, dict):
        names += [key.partition(":")[2] for key in hashes if key.lower().startswith("lora:")]
    return [name.strip()[:60] for name in dict.fromkeys(names) if name.strip()]
