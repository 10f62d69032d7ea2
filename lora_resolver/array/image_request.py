"""Reads a Runware image request as the settings of one image.

    [{ "taskType": "imageInference", "positivePrompt": "…", "model": "civitai:101055@128078",
       "width": 1024, "height": 1024, "steps": 25, "CFGScale": 7, "lora": [ … ] }]

Request format: https://runware.ai/docs/image-inference/api-reference. Members that a local workflow doesn't support are
listed, each with what to do instead, and never dropped silently.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from ..errors import InvalidIdentifier, InvalidInput, LoraResolverError, one_or_several
from ..identifiers import Identifier, parse_identifier
from ..text import nearest, quoted
from .lenient_json import parse_json
from .lora_array import LoraEntry, parse_lora_array

__all__ = ["Embedding", "ImageRequest", "LeftOut", "image_task", "parse_image_request"]

IMAGE_TASK = "imageInference"
BLANK_PROMPT = "__BLANK__"
"""Runware's word for "no prompt", since the API doesn't accept an empty one."""

DEFAULT_SIZE = 1024
"""Runware requires width and height, except for an image that starts from another one."""
DEFAULT_STEPS = 20
DEFAULT_CFG = 7.0
DEFAULT_STRENGTH = 0.8
MOST_WEIGHT = 4
"""The largest weight of an embedding."""

MAX_SEED = 2**64 - 1
"""The largest seed of ComfyUI's samplers. Runware's seeds end at 2⁶³ - 1."""

_EXAMPLE = (
    "Paste a request such as "
    '[{ "taskType": "imageInference", "positivePrompt": "…", "model": "…", "width": 1024, … }].'
)
# `urn:air:sdxl:checkpoint:civitai:…`: the parser for LoRA names rejects names that state another type.
_OTHER_KINDS = re.compile(
    r"\A(?:urn:)?(?:air:)?(?:[a-z0-9_/-]+:)?(?:checkpoint|model|diffusion_?model|unet|vae|embedding|textualinversion):(?=[a-z0-9_-]+:)",
    re.IGNORECASE,
)
_SHOWN_CHARACTERS = 60
_TOO_LONG = 10**20
"""No number in a request is this large, and Python refuses to print the longest ones."""


@dataclass(frozen=True)
class LeftOut:
    """A member of the request that isn't included in these settings."""

    parameter: str
    value: object
    """None for a value that is long, may be secret, or has members."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        shown = {} if self.value is None else {"value": self.value}
        return {"parameter": self.parameter, **shown, "reason": self.reason}


@dataclass(frozen=True)
class Embedding:
    """A textual inversion, which a prompt names. If its weight is below 0, it goes into the negative prompt."""

    identifier: Identifier
    weight: float
    place: str


@dataclass(frozen=True)
class ImageRequest:
    """The settings of one task. Sizes are in pixels."""

    positive: str
    negative: str
    width: int
    height: int
    steps: int
    cfg_scale: float
    seed: int | None
    """None: Runware would choose one."""
    scheduler: str
    """Runware's name for it; empty for the model's default."""
    model: Identifier | None
    """The checkpoint."""
    vae: Identifier | None
    """None: the checkpoint's own."""
    lora: tuple[LoraEntry, ...]
    """The entries of `lora`, then those of `lycoris`, which are files of the same kind."""
    embeddings: tuple[Embedding, ...]
    number_results: int
    strength: float | None
    """How much of a start picture is replaced, 0…1; None where there is no such picture."""
    clip_skip: int
    """Layers of the text encoder that are skipped in addition to the model's default."""
    assumed: tuple[str, ...]
    """Members that are missing from the request and have a default value here."""
    left_out: tuple[LeftOut, ...]


def parse_image_request(text_or_object: object, task: int = 1) -> ImageRequest:
    """The settings of the request's `task`-th image task, counted from 1.

    Accepts a task object or an array of them. Text may contain comments and trailing commas. Tasks of other types are
    listed as left out.

    Raises SeveralErrors or InvalidInput with the place of every error, and for a request that contains an API key.
    """
    tasks = _tasks(_parsed(text_or_object))
    reader = _Reader(_chosen(tasks, task))
    request = reader.read(_other_tasks(tasks))
    if reader.faults:
        raise one_or_several(reader.faults)
    return request


def image_task(text_or_object: object, task: int = 1) -> Mapping[str, Any]:
    """The request's `task`-th image task, unchanged. Raises InvalidInput if there is none."""
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
        raise _not_a_request("The request is empty", "emptyRequest")
    items = [document] if isinstance(document, Mapping) else document
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, Mapping) for item in items):
        raise _not_a_request("Expected a task object or an array of task objects", "invalidType")
    if any(str(key).lower() in ("apikey", "api_key") for item in items for key in item):
        raise InvalidInput(
            "The request contains an API key",
            code="secretInRequest",
            parameter="request",
            remedy="Remove the authentication task. The request is saved in every workflow and image.",
        )
    return list(items)


def _chosen(tasks: list[Mapping[str, Any]], task: int) -> Mapping[str, Any]:
    images = [item for item in tasks if _is_image_task(item)]
    if not images:
        kinds = sorted({quoted(str(item["taskType"])) for item in tasks if item.get("taskType")})
        if kinds:
            raise _not_a_request(f"The request has no image task, only {', '.join(kinds)}", "noImageTask")
        raise _not_a_request("The request has no image task", "noImageTask")
    if not 1 <= task <= len(images):
        raise InvalidInput(
            f"There's no image task {task}: the request has {len(images)}",
            code="valueOutOfRange",
            parameter="task",
            remedy=f"Choose a number from 1 to {len(images)}.",
        )
    return images[task - 1]


def _is_image_task(item: Mapping[str, Any]) -> bool:
    """Whether this is an image task. An excerpt may lack `taskType`; its prompt shows that it isn't a `lora` entry."""
    return item.get("taskType") == IMAGE_TASK or ("taskType" not in item and "positivePrompt" in item)


def _other_tasks(tasks: list[Mapping[str, Any]]) -> list[LeftOut]:
    return [
        LeftOut("taskType", _shown(item.get("taskType")), "Only image tasks are supported.")
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
        """The settings. A value that can't be read has an error in `faults` and its default here."""
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
            lora=(*self._lora(), *self._lycoris()),
            embeddings=tuple(self._embeddings()),
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
            self._fail(key, f"{value} isn't a whole number", "invalidType", f"Write {round(value)}.")
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
                f"Expected a number, got {_named(value)}",
                "invalidType",
                "Write a number without quotation marks.",
            )
            return default
        if not low <= value <= high:
            self._fail(
                key,
                f"{_named(value)} is out of range",
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
            self._fail(
                key, f"Expected text, got {_named(value)}", "invalidType", "Write text in quotation marks."
            )
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
            others = {key: value for key, value in self._task.items() if key not in ("lycoris", "embeddings")}
            return parse_lora_array({**others, "taskType": IMAGE_TASK})
        except LoraResolverError as error:
            self.faults += error.each()
            return ()

    def _lycoris(self) -> tuple[LoraEntry, ...]:
        if not self._task.get("lycoris"):
            return ()
        try:
            entries = parse_lora_array(self._task["lycoris"])
        except LoraResolverError as error:
            self.faults += [each.at(each.parameter.replace("lora", "lycoris", 1)) for each in error.each()]
            return ()
        return tuple(replace(each, place=each.place.replace("lora", "lycoris", 1)) for each in entries)

    def _embeddings(self) -> list[Embedding]:
        key = "embeddings"
        value = self._task.get(key)
        if not value:
            return []
        if not isinstance(value, (list, tuple)):
            self._fail(
                key, f"Expected an array, got {_named(value)}", "invalidType", 'Write [{ "model": "…" }].'
            )
            return []
        found = []
        for number, each in enumerate(value):
            place = f"{key}[{number}]"
            model = each.get("model") if isinstance(each, Mapping) else None
            weight = each.get("weight", 1) if isinstance(each, Mapping) else None
            weight = 1 if weight is None else weight
            if not isinstance(model, str) or not model.strip():
                self._fail(place, "The model is missing", "missingModel", 'Write { "model": "civitai:…@…" }.')
            elif not _is_number(weight) or not -MOST_WEIGHT <= weight <= MOST_WEIGHT:
                self._fail(
                    f"{place}.weight",
                    f"Expected a number from -{MOST_WEIGHT} to {MOST_WEIGHT}, got {_named(weight)}",
                    "valueOutOfRange",
                    "Write a number in this range.",
                )
            else:
                try:
                    named = _OTHER_KINDS.sub("", model.strip())
                    found.append(Embedding(parse_identifier(named), float(weight), place))
                except InvalidIdentifier as error:
                    self.faults.append(error.at(f"{place}.model"))
        return found

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
                        f'Unknown key. Did you mean "{meant}"?',
                        "unknownKey",
                        "Rename or remove it.",
                    )
                    continue
                reason = "Unknown key."
            left_out.append(LeftOut(str(key), _shown(value), reason))
        return left_out


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _named(value: object) -> str:
    """A short form of a value, for a message."""
    if isinstance(value, (bool, int, float)):
        long = not isinstance(value, float) and abs(value) >= _TOO_LONG
        return "a number of more than 20 digits" if long else json.dumps(value)
    if isinstance(value, (list, tuple)):
        return "an array"
    return "an object" if isinstance(value, Mapping) else quoted(str(value))


def _shown(value: object) -> object:
    """The value if a report may show it: no addresses, which may be signed, and no images."""
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
        *(
            "scheduler",
            "model",
            "vae",
            "lora",
            "lycoris",
            "embeddings",
            "numberResults",
            "strength",
            "clipSkip",
        ),
    }
)

_DELIVERY = "Controls how the service returns results. Here, the workflow's own nodes show and save images."
_START = "Connect Load Image and VAE Encode instead of the empty latent. The denoise output is the strength."
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("taskUUID", "outputType", "outputFormat", "outputQuality", "deliveryMethod", "webhookURL"),
            *("uploadEndpoint", "ttl", "includeCost", "usePromptWeighting"),
        ),
        _DELIVERY,
    ),
    **dict.fromkeys(("checkNSFW", "checkNsfw", "safety"), "Images aren't checked here."),
    "seedImage": _START,
    "maskImage": "Connect VAE Encode (for Inpainting) or Set Latent Noise Mask instead of the empty latent.",
    "maskMargin": "Use a crop-and-stitch node around the mask.",
    "outpaint": "Use Pad Image for Outpainting before VAE Encode (for Inpainting).",
    "inputs": "Connect Load Image to the nodes that take the images.",
    "referenceImages": "Connect Load Image and VAE Encode to the reference node of your model.",
    "controlNet": "Use Load ControlNet Model and Apply ControlNet.",
    "ipAdapters": "Use the nodes of an IPAdapter pack.",
    "photoMaker": "Use Load PhotoMaker and PhotoMaker Encode.",
    "puLID": "Use the nodes of a PuLID pack.",
    "acePlusPlus": "Use the nodes of an ACE++ pack.",
    "instantID": "Use the nodes of an InstantID pack.",
    "refiner": "Load the refiner as a second checkpoint, and use KSampler (Advanced) for its part of the steps.",
    "hiresFix": "Add Upscale Latent and a second KSampler after the first.",
    "layerDiffuse": "Use the nodes of a LayerDiffuse pack.",
    "acceleratorOptions": "Use a caching node, such as EasyCache.",
    "advancedFeatures": "Requires dedicated nodes in the workflow.",
    "promptWeighting": "ComfyUI reads (word:1.2) in prompts. Other weighting syntaxes aren't translated.",
    "providerSettings": "For hosted models only.",
    "settings": "Requires dedicated nodes in the workflow.",
}

_KNOWN = {key.lower(): key for key in (*_READ, *_REASONS)}
