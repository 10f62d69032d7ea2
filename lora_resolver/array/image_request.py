"""A Runware image request, read as the settings of one picture.

    [{ "taskType": "imageInference", "positivePrompt": "…", "model": "civitai:101055@128078",
       "width": 1024, "height": 1024, "steps": 25, "CFGScale": 7, "lora": [ … ] }]

Request format: https://runware.ai/docs/image-inference/api-reference. What a local workflow has no place for is listed,
each with what to do instead, and never dropped in silence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..errors import InvalidIdentifier, InvalidInput, LoraResolverError, one_or_several
from ..identifiers import Identifier, parse_identifier
from ..text import nearest, quoted
from .lenient_json import parse_json
from .lora_array import LoraEntry, parse_lora_array

__all__ = ["ImageRequest", "LeftOut", "image_task", "parse_image_request"]

IMAGE_TASK = "imageInference"
BLANK_PROMPT = "__BLANK__"
"""Runware's word for "no prompt": the API takes no empty one."""

DEFAULT_SIZE = 1024
"""Runware wants width and height, but for a picture that starts from another."""
DEFAULT_STEPS = 20
DEFAULT_CFG = 7.0
DEFAULT_STRENGTH = 0.8
MAX_SEED = 2**64 - 1
"""Of ComfyUI's samplers; Runware's own end at 2⁶³ - 1."""

_EXAMPLE = 'Paste [{ "taskType": "imageInference", "positivePrompt": "…", "model": "…", "width": 1024, … }].'
# `urn:air:sdxl:checkpoint:civitai:…`: the parser of LoRA names refuses what says that it is none.
_OTHER_KINDS = re.compile(
    r"\A(?:urn:)?(?:air:)?(?:[a-z0-9_/-]+:)?(?:checkpoint|model|diffusion_?model|unet|vae):(?=[a-z0-9_-]+:)",
    re.IGNORECASE,
)
_SHOWN_CHARACTERS = 60
_TOO_LONG = 10**20
"""No number of a request; Python itself refuses to write out the longest ones."""


@dataclass(frozen=True)
class LeftOut:
    """A member of the request that these settings do not hold."""

    parameter: str
    value: object
    """None for what is long, may be secret, or has members of its own."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        shown = {} if self.value is None else {"value": self.value}
        return {"parameter": self.parameter, **shown, "reason": self.reason}


@dataclass(frozen=True)
class ImageRequest:
    """What one task asks for. Sizes are in pixels."""

    positive: str
    negative: str
    width: int
    height: int
    steps: int
    cfg_scale: float
    seed: int | None
    """None: Runware would choose one."""
    scheduler: str
    """In Runware's words; empty for the model's own."""
    model: Identifier | None
    """The checkpoint."""
    vae: Identifier | None
    """None: the checkpoint's own."""
    lora: tuple[LoraEntry, ...]
    number_results: int
    strength: float | None
    """How much of a start picture is replaced, 0…1; None where there is no such picture."""
    clip_skip: int
    """Layers of the text encoder that are skipped beyond the model's own habit."""
    assumed: tuple[str, ...]
    """Members that the request does not have, and whose value is a default."""
    left_out: tuple[LeftOut, ...]


def parse_image_request(text_or_object: object, task: int = 1) -> ImageRequest:
    """The settings of an image task: of the request's `task`-th one, counted from 1.

    Accepted: a task object, or an array of them; text may hold comments and trailing commas. Tasks of other types are
    listed as left out.

    Raises SeveralErrors or InvalidInput with the place of every fault, and for a request that holds an API key.
    """
    tasks = _tasks(_parsed(text_or_object))
    reader = _Reader(_chosen(tasks, task))
    request = reader.read(_other_tasks(tasks))
    if reader.faults:
        raise one_or_several(reader.faults)
    return request


def image_task(text_or_object: object, task: int = 1) -> Mapping[str, Any]:
    """The request's `task`-th image task, as it is. Raises InvalidInput where there is none."""
    return _chosen(_tasks(_parsed(text_or_object)), task)


def _parsed(text_or_object: object) -> object:
    if not isinstance(text_or_object, str):
        return text_or_object
    try:
        return parse_json(text_or_object)
    except InvalidInput as error:
        raise error.at("request") from None


def _tasks(document: object) -> list[Mapping[str, Any]]:
    if document is None:
        raise _not_a_request("there is no request", "emptyRequest")
    items = [document] if isinstance(document, Mapping) else document
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, Mapping) for item in items):
        raise _not_a_request("this is neither a task object nor an array of them", "invalidType")
    if any(str(key).lower() in ("apikey", "api_key") for item in items for key in item):
        raise InvalidInput(
            "this request holds an API key",
            code="secretInRequest",
            parameter="request",
            remedy="Remove the authentication task: what stands here is saved in every workflow and picture.",
        )
    return list(items)


def _chosen(tasks: list[Mapping[str, Any]], task: int) -> Mapping[str, Any]:
    images = [item for item in tasks if _is_image_task(item)]
    if not images:
        kinds = sorted({quoted(str(item["taskType"])) for item in tasks if item.get("taskType")})
        if kinds:
            raise _not_a_request(f"no image task, but {', '.join(kinds)}", "noImageTask")
        raise _not_a_request("this is no image task", "noImageTask")
    if not 1 <= task <= len(images):
        raise InvalidInput(
            f"there is no image task {task} among {len(images)}",
            code="valueOutOfRange",
            parameter="task",
            remedy=f"Choose a number from 1 to {len(images)}.",
        )
    return images[task - 1]


def _is_image_task(item: Mapping[str, Any]) -> bool:
    """An excerpt may lack its `taskType`, but an entry of a `lora` array has no prompt."""
    return item.get("taskType") == IMAGE_TASK or ("taskType" not in item and "positivePrompt" in item)


def _other_tasks(tasks: list[Mapping[str, Any]]) -> list[LeftOut]:
    return [
        LeftOut("taskType", _shown(item.get("taskType")), "Only image tasks are read.")
        for item in tasks
        if not _is_image_task(item)
    ]


class _Reader:
    """Reads one task and collects everything that is wrong with it."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self._assumed: list[str] = []
        self.faults: list[LoraResolverError] = []

    def read(self, left_out: list[LeftOut]) -> ImageRequest:
        """What could not be read is in `faults`, and has its default here."""
        start_picture = any(self._task.get(key) for key in ("seedImage", "maskImage"))
        return ImageRequest(
            positive=self._prompt("positivePrompt"),
            negative=self._prompt("negativePrompt"),
            width=self._whole("width", 16, 16384, DEFAULT_SIZE),
            height=self._whole("height", 16, 16384, DEFAULT_SIZE),
            steps=self._whole("steps", 1, 10000, DEFAULT_STEPS),
            cfg_scale=self._number("CFGScale", 0, 100, DEFAULT_CFG),
            seed=self._whole("seed", 0, MAX_SEED, 0) if self._has("seed") else None,
            scheduler=self._text("scheduler"),
            model=self._model("model"),
            vae=self._model("vae"),
            lora=self._lora(),
            number_results=self._whole("numberResults", 1, 4096, 1) if self._has("numberResults") else 1,
            strength=self._number("strength", 0, 1, DEFAULT_STRENGTH) if start_picture else None,
            clip_skip=self._whole("clipSkip", 0, 24, 0) if self._has("clipSkip") else 0,
            assumed=tuple(self._assumed),
            left_out=(*left_out, *self._not_read()),
        )

    def _has(self, key: str) -> bool:
        return self._task.get(key) is not None

    def _whole(self, key: str, low: int, high: int, default: int) -> int:
        value = self._limited(key, low, high, default)
        if value != int(value):
            self._fail(key, f"{value} is not a whole number", "invalidType", f"Write {round(value)}.")
            return default
        return int(value)

    def _number(self, key: str, low: float, high: float, default: float) -> float:
        return float(self._limited(key, low, high, default))

    def _limited(self, key: str, low: float, high: float, default: float) -> float:
        value = self._task.get(key)
        if value is None:
            self._assumed.append(key)
            return default
        if not _is_number(value):
            self._fail(
                key,
                f"{_named(value)} is not a number",
                "invalidType",
                "Write it without quotation marks.",
            )
            return default
        if not low <= value <= high:
            self._fail(
                key,
                f"{_named(value)} is outside {low}…{high}",
                "valueOutOfRange",
                f"Write a number from {low} to {high}.",
            )
            return default
        return value

    def _text(self, key: str) -> str:
        value = self._task.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self._fail(key, f"{_named(value)} is not a text", "invalidType", "Write it in quotation marks.")
            return ""
        return value.strip()

    def _prompt(self, key: str) -> str:
        text = self._text(key)
        return "" if text == BLANK_PROMPT else text

    def _model(self, key: str) -> Identifier | None:
        text = self._text(key)
        if not text:
            return None
        try:
            return parse_identifier(_OTHER_KINDS.sub("", text))
        except InvalidIdentifier as error:
            self.faults.append(error.at(key))
            return None

    def _lora(self) -> tuple[LoraEntry, ...]:
        try:
            return parse_lora_array({**self._task, "taskType": IMAGE_TASK})
        except LoraResolverError as error:
            self.faults += error.each()
            return ()

    def _fail(self, key: str, message: str, code: str, remedy: str) -> None:
        self.faults.append(InvalidInput(message, code=code, parameter=key, remedy=remedy))

    def _not_read(self) -> list[LeftOut]:
        left_out = []
        for key, value in self._task.items():
            if key in _READ or value in (None, "", [], {}):
                continue
            reason = _REASONS.get(key)
            if reason is None:
                meant = _KNOWN.get(nearest(str(key), _KNOWN, cutoff=0.85) or "")
                if meant is not None:
                    self._fail(
                        str(key),
                        f'unknown key, did you mean "{meant}"?',
                        "unknownKey",
                        "Rename or remove it.",
                    )
                    continue
                reason = "Not known here."
            left_out.append(LeftOut(str(key), _shown(value), reason))
        return left_out


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _named(value: object) -> str:
    """A value that a message is about, short."""
    if isinstance(value, (bool, int, float)):
        long = not isinstance(value, float) and abs(value) >= _TOO_LONG
        return "a number of more than 20 digits" if long else json.dumps(value)
    if isinstance(value, (list, tuple)):
        return "an array"
    return "an object" if isinstance(value, Mapping) else quoted(str(value))


def _shown(value: object) -> object:
    """What of a value a report may show: no addresses, which may be signed, and no pictures."""
    if isinstance(value, bool) or (_is_number(value) and abs(value) < _TOO_LONG):
        return value
    short = (
        isinstance(value, str) and len(value) <= _SHOWN_CHARACTERS and not re.search(r"://|\Adata:", value)
    )
    return value if short else None


def _not_a_request(message: str, code: str) -> InvalidInput:
    return InvalidInput(message, code=code, parameter="request", remedy=_EXAMPLE)


_READ = frozenset(
    {
        *("taskType", "positivePrompt", "negativePrompt", "width", "height", "steps", "CFGScale", "seed"),
        *("scheduler", "model", "vae", "lora", "numberResults", "strength", "clipSkip"),
    }
)

_DELIVERY = "About how the service answers; here the workflow's own nodes show and save pictures."
_START = "Connect Load Image and VAE Encode in place of the empty latent; the denoise output is the strength."
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("taskUUID", "outputType", "outputFormat", "outputQuality", "deliveryMethod", "webhookURL"),
            *("uploadEndpoint", "ttl", "includeCost", "usePromptWeighting"),
        ),
        _DELIVERY,
    ),
    **dict.fromkeys(("checkNSFW", "checkNsfw", "safety"), "Pictures are not looked through here."),
    "seedImage": _START,
    "maskImage": "Connect VAE Encode (for Inpainting) or Set Latent Noise Mask in place of the empty latent.",
    "maskMargin": "Use a crop-and-stitch node around the mask.",
    "outpaint": "Use Pad Image for Outpainting before VAE Encode (for Inpainting).",
    "inputs": "Connect Load Image to the nodes that take the pictures.",
    "referenceImages": "Connect Load Image and VAE Encode to the reference node of your model.",
    "controlNet": "Use Load ControlNet Model and Apply ControlNet.",
    "ipAdapters": "Use the nodes of an IPAdapter pack.",
    "photoMaker": "Use Load PhotoMaker and PhotoMaker Encode.",
    "puLID": "Use the nodes of a PuLID pack.",
    "acePlusPlus": "Use the nodes of an ACE++ pack.",
    "instantID": "Use the nodes of an InstantID pack.",
    "refiner": "Load the refiner as a second checkpoint, and use KSampler (Advanced) for its part of the steps.",
    "embeddings": "Put the files into models/embeddings and write embedding:name in the prompt.",
    "acceleratorOptions": "Use a caching node, such as EasyCache.",
    "advancedFeatures": "Needs nodes of its own in the workflow.",
    "promptWeighting": "ComfyUI reads (word:1.2) in prompts; other ways to weigh words are not translated.",
    "providerSettings": "For hosted models only.",
    "settings": "Needs nodes of its own in the workflow.",
}

_KNOWN = {key.lower(): key for key in (*_READ, *_REASONS)}
