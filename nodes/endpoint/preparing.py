"""Checks and prepares a task in its own thread: stores pictures, finds or downloads files, and builds graphs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ...lora_resolver import (
    InvalidIdentifier,
    InvalidInput,
    LoraResolverError,
    NotFound,
    nearest,
    one_or_several,
    parse_identifier,
    parse_image_request,
)
from ..array.inputs import FROM_REQUEST
from ..request.embeddings import with_embeddings
from ..request.files import find_checkpoint, find_file, find_vae
from ..request.samplers import sampling_for
from ..server.model_folders import listed_files
from ..server.routes.checkpoints import known_checkpoint
from ..server.settings import resolver_config
from .graphs import TEXT_ENCODERS, Parts, prefix_of, standard_graph
from .own_workflows import Workflow, filled, not_used, own_graph
from .pictures import FORMATS, size_of, take_in, uuid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lora_resolver import ImageRequest, Progress
    from ..request.files import FoundFile

MOST_RESULTS = 20
MOST_ASSUMED_PIXELS = 1024 * 1024
"""Of a picture whose size is taken from its start picture."""
MOST_SEED = 2**53 - 1
"""JavaScript, and so half of the clients, can't represent larger seeds exactly."""

_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".gguf")
_REFUSED = {
    "webhookURL": "Get the result with getResponse.",
    "uploadEndpoint": "Download the image from the URL in the response.",
}
_DONE_HERE = frozenset(
    {
        *(
            "taskUUID",
            "outputType",
            "outputFormat",
            "outputQuality",
            "deliveryMethod",
            "includeCost",
            "webhookURL",
        ),
        *("seedImage", "maskImage", "numberResults"),
    }
)
_IN_INPUTS = frozenset({"seedImage", "maskImage"})


_REASONS_HERE = {
    "ttl": "Images stay in ComfyUI's output folder until you delete them.",
    "usePromptWeighting": "ComfyUI supports (word:1.2) in prompts. Other weighting syntax isn't converted.",
}
_FOR_OWN_WORKFLOWS = frozenset(
    {
        *(
            "controlNet",
            "ipAdapters",
            "outpaint",
            "hiresFix",
            "refiner",
            "layerDiffuse",
            "acceleratorOptions",
        ),
        *("referenceImages", "photoMaker", "puLID", "acePlusPlus", "instantID", "maskMargin"),
        "advancedFeatures",
    }
)


@dataclass(frozen=True)
class Output:
    """The form in which the response returns its pictures."""

    types: tuple[str, ...]
    format: str
    quality: int


@dataclass(frozen=True)
class Prepared:
    """Workflows to queue, one for each picture."""

    workflows: tuple[Workflow, ...]
    left_out: tuple[dict[str, Any], ...]
    """What the task asks for but isn't done, each with what to do instead."""
    own: str = ""
    """The file name of the user's own workflow that these were made from."""


def output_of(task: Mapping[str, Any]) -> Output:
    """The output that the task asks for. Raises InvalidInput for what this endpoint doesn't support."""
    for name, remedy in _REFUSED.items():
        if task.get(name) not in (None, "", False):
            raise InvalidInput(
                "This endpoint doesn't send anything to other addresses",
                code="unsupportedParameter",
                parameter=name,
                remedy=remedy,
            )
    given = task.get("outputType") or "URL"
    types = tuple(given) if isinstance(given, list) else (given,)
    for each in types:
        if each not in ("URL", "base64Data", "dataURI"):
            raise _not_one(str(each)[:40], "outputType", "URL, base64Data, or dataURI")
    asked = task.get("outputFormat")
    kind = "JPG" if asked in (None, "") else str(asked).upper().replace("JPEG", "JPG")
    if kind not in FORMATS:
        raise _not_one(str(asked)[:40], "outputFormat", "JPG, PNG, or WEBP")
    if task.get("deliveryMethod") not in (None, "sync", "async"):
        raise _not_one(str(task["deliveryMethod"])[:40], "deliveryMethod", "sync or async")
    if not isinstance(task.get("includeCost", False), (bool, type(None))):
        raise _not_one(str(task["includeCost"])[:40], "includeCost", "true or false")
    quality = task.get("outputQuality")
    if quality is None:
        quality = 95
    if not isinstance(quality, (int, float)) or isinstance(quality, bool) or not 1 <= quality <= 100:
        raise _not_one(str(quality)[:40], "outputQuality", "a number from 1 to 100")
    return Output(types, kind, round(quality))


def checked(task: Mapping[str, Any]) -> ImageRequest:
    """The request, checked as far as possible without files. Raises InvalidInput or SeveralErrors."""
    plain = _plain(task)
    results = _within(plain, "numberResults", 1, MOST_RESULTS, 1)
    _within(plain, "seed", 0, MOST_SEED - results, 0)
    if _own_file(plain.get("model")) is not None:
        del plain["model"]
    elif _is_file_name(plain.get("model")):
        raise _no_checkpoint(str(plain["model"]))
    return parse_image_request(plain)


def _within(task: Mapping[str, Any], name: str, low: int, high: int, otherwise: int) -> int:
    """A whole number. For a value that isn't a number, returns `otherwise`: the parser reports its type."""
    value = task.get(name, otherwise)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return otherwise
    if not low <= value <= high:
        raise InvalidInput(
            f"{value} isn't from {low} to {high}",
            code="valueOutOfRange",
            parameter=name,
            remedy=f"Send a number from {low} to {high}.",
        )
    return int(value)


def new_seed() -> int:
    """A seed for a task without one."""
    return secrets.randbits(32)


def prepare(task: Mapping[str, Any], seeds: Sequence[int], results: Sequence[str]) -> Prepared:
    """Does everything that takes time. Raises LoraResolverError with the place of the problem."""
    asked = checked(task)
    pictures = _taken_in(task)
    if "maskImage" in pictures and "seedImage" not in pictures:
        raise InvalidInput(
            "A mask needs an image to apply it to",
            code="missingSeedImage",
            parameter="seedImage",
            remedy="Also send seedImage.",
        )
    names = [str(task.get("model") or ""), str(asked.model or "")]
    _look_for_loras(asked)
    sampling = sampling_for(asked.scheduler, ())
    if not sampling.is_known:
        raise InvalidInput(
            f"{asked.scheduler[:60]!r} isn't a known scheduler",
            code="invalidValue",
            parameter="scheduler",
            remedy=sampling.note.removeprefix("Unknown scheduler.").strip()
            or "Send one of Runware's names, such as DPM++ 2M Karras, or leave it out.",
        )
    own = own_graph(names)
    checkpoint = family = None
    if own is None:
        try:
            own_file = _own_file(task.get("model")) or FROM_REQUEST
            checkpoint = find_checkpoint(
                asked, own_file, _nothing, "send the name of a checkpoint in this ComfyUI"
            )
        except LoraResolverError as error:
            raise error.at("model") from None
        family = _family_of(checkpoint)
        own = own_graph([family])
    if own is not None:
        left_out = _left_out(task, asked, family or "", is_own=True) + not_used(*own, _plain(task))
        plain = {**_plain(task), **pictures, "numberResults": 1}
        named = _own_file(plain.get("model"))
        if named is not None:
            del plain["model"]
        workflows = [
            _saving_as(filled(own[1], plain, seed, pictures, named or ""), result)
            for seed, result in zip(seeds, results)
        ]
        return Prepared(tuple(workflows), tuple(left_out), own[0])
    assert checkpoint is not None  # noqa: S101 - for the type checker
    encoders, vae = _beside(checkpoint, family or "")
    if asked.vae is not None:
        try:
            vae = find_vae(asked, _nothing).name
        except LoraResolverError as error:
            raise error.at("vae") from None
    asked, notes = _sized(asked, pictures)
    if checkpoint.folder == "diffusion_models" and not (encoders and vae):
        missing = "VAE" if encoders else "text encoders"
        raise InvalidInput(
            f"{checkpoint.name} contains only a diffusion model, and this pack doesn't know its {missing}",
            code="unsupportedModel",
            parameter="vae" if encoders else "model",
            remedy="Send vae." if encoders else "Use a full checkpoint, or save your own workflow for it.",
        )
    prompts = with_embeddings(asked.positive, asked.negative, asked.embeddings, checkpoint.families, _nothing)
    parts = [
        Parts(
            asked=asked,
            checkpoint=checkpoint,
            family=family or "",
            seed=seed,
            result=result,
            vae=vae,
            text_encoders=encoders,
            seed_image=pictures.get("seedImage", ""),
            mask_image=pictures.get("maskImage", ""),
            prompts=prompts,
        )
        for seed, result in zip(seeds, results)
    ]
    return Prepared(tuple(map(standard_graph, parts)), (*notes, *_left_out(task, asked, family or "")))


def _look_for_loras(asked: ImageRequest) -> None:
    """Reports missing LoRAs now, not when the task's turn in ComfyUI's queue comes.

    Raises LoraResolverError with the place of each that isn't available.
    """
    from ...lora_resolver import Resolver  # late: it needs an HTTP client

    resolver = Resolver(resolver_config())
    elsewhere = [
        entry for entry in asked.lora if entry.active and resolver.find_local(entry.identifier) is None
    ]
    found = resolver.peek_all([entry.identifier for entry in elsewhere], on_progress=_nothing)
    faults = [
        fault.at(f"{entry.place}.model")
        for entry, fault in zip(elsewhere, found)
        if isinstance(fault, LoraResolverError)
    ]
    if faults:
        raise one_or_several(faults)


def _sized(asked: ImageRequest, pictures: Mapping[str, str]) -> tuple[ImageRequest, list[dict[str, Any]]]:
    """The request, with the start picture's size if it sets none, and notes about sizes."""
    missing = [name for name in ("width", "height") if name in asked.assumed]
    if "seedImage" not in pictures:
        reason = "The task doesn't set a size. This is the default."
        return asked, [
            {"parameter": name, "value": getattr(asked, name), "reason": reason} for name in missing
        ]
    width, height = size_of(pictures["seedImage"])
    if len(missing) == 2:
        scale = min(1.0, (MOST_ASSUMED_PIXELS / (width * height)) ** 0.5)
        asked = replace(asked, width=max(16, int(width * scale)), height=max(16, int(height * scale)))
    elif missing == ["width"]:
        asked = replace(asked, width=max(16, min(16384, round(asked.height * width / height))))
    elif missing == ["height"]:
        asked = replace(asked, height=max(16, min(16384, round(asked.width * height / width))))
    if abs(asked.width * height - asked.height * width) <= max(width, height) * 8:
        return asked, []
    reason = f"It has {width} × {height} pixels and is cropped to its center."
    return asked, [{"parameter": "seedImage", "reason": reason}]


def with_pictures_taken_in(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task with its pictures replaced by their UUIDs. Raises LoraResolverError at the place of an invalid one."""
    plain = dict(task)
    for name, file in _taken_in(task).items():
        inputs = plain.get("inputs")
        if plain.get(name) not in (None, ""):
            plain[name] = uuid_of(file)
        elif isinstance(inputs, Mapping):
            plain["inputs"] = {**inputs, name: uuid_of(file)}
    return plain


def _taken_in(task: Mapping[str, Any]) -> dict[str, str]:
    """Member of the task → its picture's file in ComfyUI's input folder."""
    return {
        name: take_in(value, name)
        for name in sorted(_IN_INPUTS)
        if (value := _picture(task, name)) is not None
    }


def _plain(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task in the form that the parser reads: the pictures of `inputs` are moved to the task itself."""
    plain = {key: value for key, value in task.items() if value is not None}
    inputs = plain.pop("inputs", None)
    if isinstance(inputs, Mapping):
        others = {key: value for key, value in inputs.items() if key not in _IN_INPUTS and value}
        if others:
            plain["inputs"] = others
    elif inputs is not None:
        raise InvalidInput(
            "It isn't an object",
            code="invalidType",
            parameter="inputs",
            remedy='Send {"seedImage": "…"}, or put seedImage directly in the task.',
        )
    for key in _IN_INPUTS:
        plain.pop(key, None)
        if _picture(task, key) is not None:
            plain[key] = "sent with the task"
    return plain


def _own_file(model: object) -> str | None:
    """The model's name as ComfyUI's loaders list it, if it is a file of any kind that they load; otherwise None."""
    name = model.strip().replace("\\", "/").removeprefix("local:") if isinstance(model, str) else ""
    files = [(each.replace("\\", "/"), each) for each in listed_files("checkpoint")]
    alike = [each for shown, each in files if shown.lower() == name.lower()]
    return next((each for shown, each in files if shown == name), alike[0] if len(alike) == 1 else None)


def _is_file_name(model: object) -> bool:
    """Whether it can only be a checkpoint's file name: it is no identifier, and ends as such files do."""
    if not isinstance(model, str):
        return False
    name = model.strip().replace("\\", "/").removeprefix("local:")
    endings = {
        PurePosixPath(each.replace("\\", "/")).suffix.lower() for each in listed_files("checkpoint")
    } - {""}
    if ":" in name or not name.lower().endswith((*endings, *_ENDINGS)):
        return False
    try:
        parse_identifier(model)
    except InvalidIdentifier:
        return True
    return False


def _no_checkpoint(model: str) -> NotFound:
    name = model.strip().removeprefix("local:")
    names = {each.replace("\\", "/").lower(): each.replace("\\", "/") for each in listed_files("checkpoint")}
    meant = names.get(nearest(name, names) or "")
    return NotFound(
        f"There is no checkpoint {name[:200]!r}" + (f". Did you mean {meant!r}?" if meant else ""),
        code="notFound",
        parameter="model",
        remedy="Send the name of a checkpoint in this ComfyUI, or an identifier such as civitai:…@….",
    )


def _picture(task: Mapping[str, Any], name: str) -> object:
    """The picture in the task or in `inputs`; None if there is none. Raises InvalidInput for two different ones."""
    inputs = task.get("inputs")
    places = (task.get(name), inputs.get(name) if isinstance(inputs, Mapping) else None)
    found = [each for each in places if each not in (None, "")]
    if len(found) == 2 and found[0] != found[1]:
        raise InvalidInput(
            f"The task has a different value in inputs.{name}",
            code="conflictingValues",
            parameter=name,
            remedy="Send only one of them.",
        )
    return found[0] if found else None


def _family_of(checkpoint: FoundFile) -> str:
    return next(iter(checkpoint.families), "")


def _beside(checkpoint: FoundFile, family: str) -> tuple[dict[str, str], str]:
    """(input → text encoder, VAE) for a file with only the diffusion model. Finds or downloads them."""
    encoders = TEXT_ENCODERS.get(family)
    known = known_checkpoint((checkpoint.folder, checkpoint.name))
    if encoders is None or known is None or "text_encoders" in known.parts:
        return {}, ""
    files = {
        name: find_file(parse_identifier(identifier), "text_encoder", _nothing)[1]
        for name, identifier in encoders.files
    }
    vae = find_file(parse_identifier(encoders.vae), "vae", _nothing)[1] if encoders.vae else ""
    return files, vae


def _saving_as(workflow: Workflow, result: str) -> Workflow:
    for node in workflow.values():
        if "filename_prefix" in node["inputs"]:
            node["inputs"]["filename_prefix"] = prefix_of(result)
    return workflow


def _left_out(
    task: Mapping[str, Any], asked: ImageRequest, family: str, *, is_own: bool = False
) -> list[dict[str, Any]]:
    told = [each.as_dict() for each in asked.left_out if each.parameter not in _DONE_HERE]
    told = [each for each in told if each.get("value") is not False]  # a disabled option isn't a request
    for each in told:
        each["reason"] = _REASONS_HERE.get(each["parameter"], each["reason"])
        if each["parameter"] in _FOR_OWN_WORKFLOWS:
            each["reason"] = (
                f"The standard graph doesn't support this. In your own workflow: {each['reason']}"
            )
    note = sampling_for(asked.scheduler, (family,)).note if asked.scheduler else ""
    if note:
        told.append({"parameter": "scheduler", "value": asked.scheduler, "reason": note})
    if task.get("strength") is not None and asked.strength is None:
        told.append(
            {
                "parameter": "strength",
                "reason": "It only applies with seedImage, which the task doesn't have.",
            }
        )
    told += [
        {"parameter": name, "value": size, "reason": "Sizes are rounded down to a multiple of 8."}
        for name, size in (("width", asked.width), ("height", asked.height))
        if size % 8
    ]
    if asked.clip_skip and not is_own and family not in ("sd1", "sd2", "sdxl"):
        told.append(
            {
                "parameter": "clipSkip",
                "value": asked.clip_skip,
                "reason": "This model doesn't support clipSkip.",
            }
        )
    return told


def _nothing(_: Progress) -> None:
    """Ignores the progress: a waiting task is always "processing"."""


def _not_one(value: str, parameter: str, wanted: str) -> InvalidInput:
    return InvalidInput(
        f"{value!r} isn't {wanted}", code="invalidValue", parameter=parameter, remedy=f"Send {wanted}."
    )
