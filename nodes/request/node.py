"""Runware Request: splits an image request into values for the nodes of a workflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...lora_resolver import LoraResolverError, format_lora_array, parse_image_request
from ..array.inputs import FROM_REQUEST, LoaderName
from ..array.trigger_words import with_missing_words, words_of
from ..server.failures import tells_programs
from ..server.model_folders import listed_files
from ..server.progress import NodeProgress
from ..server.running import wired_outputs
from ..server.settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lora_resolver import ImageRequest

EXAMPLE = """[
  {
    "taskType": "imageInference",
    "positivePrompt": "a red supercar in a city at sunset",
    "model": "civitai:101055@128078",
    "width": 1024, "height": 1024,
    "steps": 25, "CFGScale": 7,
    "lora": [{ "model": "civitai:120096@135931", "weight": 0.7 }]
  }
]"""

POSITIVE, NEGATIVE, CHECKPOINT, VAE = 0, 1, 11, 12
"""Numbers of the outputs that might need a lookup or a download."""

SIZE_STEP = 8
"""Pixels for each unit of a latent."""

GUIDED = frozenset({"flux1", "flux2"})
"""Families that are distilled to take guidance as a number, instead of a second pass for the negative prompt."""


class AirLoraRequest(io.ComfyNode):
    """Outputs the parts of a Runware image request, one output for each value that a workflow's nodes need."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraRequest",
            display_name="Runware Request",
            category="loaders/AIR LoRA",
            description=(
                "Splits an image request of the Runware API into prompts, size, steps, CFG, seed, sampler, "
                "checkpoint, VAE, and LoRAs. The report lists the parts of the request that the outputs don't cover."
            ),
            inputs=[
                io.String.Input(
                    "request",
                    multiline=True,
                    default="",
                    placeholder=EXAMPLE,
                    tooltip="A task object, or an array of task objects. Comments and trailing commas are allowed. "
                    "Don't include your API key.",
                ),
                io.Int.Input(
                    "task",
                    default=1,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Which image task to use if there are several.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    optional=True,
                    tooltip="The seed to use if the request has none.",
                ),
                io.Combo.Input(
                    "checkpoint",
                    options=[FROM_REQUEST, *listed_files("checkpoint")],
                    default=FROM_REQUEST,
                    optional=True,
                    tooltip="A file to use instead of the request's model. Many models run only on Runware.",
                ),
                io.Combo.Input(
                    "trigger_words",
                    options=["as written", "append missing"],
                    default="as written",
                    optional=True,
                    tooltip="Whether to append the LoRAs' missing trigger words to the prompt.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="positive"),
                io.String.Output(display_name="negative"),
                io.Int.Output(display_name="width"),
                io.Int.Output(display_name="height"),
                io.Int.Output(display_name="batch_size", tooltip="The request's numberResults."),
                io.Int.Output(display_name="seed"),
                io.Int.Output(display_name="steps"),
                io.Float.Output(
                    display_name="cfg",
                    tooltip="The request's CFGScale. For FLUX, connect it to FluxGuidance, and leave the sampler's "
                    "cfg at 1.",
                ),
                LoaderName.Output(display_name="sampler_name"),
                LoaderName.Output(display_name="scheduler"),
                io.Float.Output(
                    display_name="denoise",
                    tooltip="The request's strength if it starts from an image, otherwise 1.",
                ),
                LoaderName.Output(
                    display_name="checkpoint",
                    tooltip="For Load Checkpoint, or for Load Diffusion Model if the file is in that folder. "
                    "Connecting this output downloads the file if it's missing.",
                ),
                LoaderName.Output(
                    display_name="vae",
                    tooltip="For Load VAE, if the request has a VAE. Connecting this output downloads the VAE.",
                ),
                io.String.Output(display_name="lora", tooltip="The array, for Apply LoRA Array."),
                io.String.Output(
                    display_name="report", tooltip="What happened to each part of the request, as JSON."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, request: str | None, task: int | None = 1) -> bool | str:
        """Rejects an invalid request when the prompt is queued. A connected text is still None then."""
        if request is None or task is None:
            return True
        try:
            parse_image_request(request, task)
        except LoraResolverError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, **_values: Any) -> str:
        """Changes when an output is connected that wasn't computed before."""
        wired = wired_outputs()
        return "all" if wired is None else str(sorted(wired & {POSITIVE, NEGATIVE, CHECKPOINT, VAE}))

    @classmethod
    @tells_programs
    def execute(
        cls,
        request: str,
        task: int = 1,
        seed: int = 0,
        checkpoint: str = FROM_REQUEST,
        trigger_words: str = "as written",
    ) -> io.NodeOutput:
        """Returns the request's values, and the report."""
        from ...lora_resolver import (
            Resolver,
        )  # late, so that ComfyUI starts without loading an HTTP client

        # Imported late, so that ComfyUI starts faster.
        from .embeddings import with_embeddings
        from .files import find_checkpoint, find_vae
        from .samplers import sampling_for

        asked = parse_image_request(request, task)
        wired = wired_outputs()
        progress = NodeProgress(cls.hidden.unique_id)
        report: dict[str, Any] = {"task": task, "assumed": list(asked.assumed)}

        model = None
        if wired is None or CHECKPOINT in wired:
            model = find_checkpoint(asked, checkpoint, progress)
            report["checkpoint"] = model.as_dict()
        vae = None
        if asked.vae is not None if wired is None else VAE in wired:
            vae = find_vae(asked, progress)
            report["vae"] = vae.as_dict()
        sampling = sampling_for(asked.scheduler, model.families if model else ())
        report["sampling"] = {
            "asked": asked.scheduler,
            "sampler_name": sampling.sampler,
            "scheduler": sampling.scheduler,
            **({"note": sampling.note} if sampling.note else {}),
        }
        report["seed"] = "the request's" if asked.seed is not None else "this node's"

        positive = asked.positive
        if trigger_words == "append missing" and (wired is None or POSITIVE in wired):
            active = [entry for entry in asked.lora if entry.active]
            found = Resolver(resolver_config()).peek_all(
                [entry.identifier for entry in active], on_progress=progress
            )
            positive, report["appended"] = with_missing_words(
                positive, words_of(found, [f"{entry.place}.model" for entry in active], active)
            )
        negative = asked.negative
        if asked.embeddings and (wired is None or wired & {POSITIVE, NEGATIVE}):
            families = model.families if model else ()
            positive, negative = with_embeddings(positive, negative, asked.embeddings, families, progress)
            report["embeddings"] = [str(each.identifier) for each in asked.embeddings]
        report["left_out"] = [
            *_limits(asked, model.families if model else ()),
            *(each.as_dict() for each in asked.left_out),
        ]
        return io.NodeOutput(
            positive,
            negative,
            asked.width // SIZE_STEP * SIZE_STEP,
            asked.height // SIZE_STEP * SIZE_STEP,
            asked.number_results,
            asked.seed if asked.seed is not None else seed,
            asked.steps,
            asked.cfg_scale,
            sampling.sampler,
            sampling.scheduler,
            asked.strength if asked.strength is not None else 1.0,
            model.name if model else "",
            vae.name if vae else "",
            format_lora_array(asked.lora),
            json.dumps(report, ensure_ascii=False, indent=2),
        )


def _limits(asked: ImageRequest, families: Sequence[str]) -> list[dict[str, Any]]:
    """The parts of the request that the outputs cover only partly. `families` are the checkpoint's, if known."""
    told = [
        {"parameter": name, "value": size, "reason": f"Sizes are rounded down to a multiple of {SIZE_STEP}."}
        for name, size in (("width", asked.width), ("height", asked.height))
        if size % SIZE_STEP
    ]
    if GUIDED.intersection(families):
        told.append(
            {
                "parameter": "CFGScale",
                "value": asked.cfg_scale,
                "reason": "This model uses it as guidance. Connect cfg to FluxGuidance, and leave the "
                "sampler's cfg at 1.",
            }
        )
    if asked.number_results > 1:
        told.append(
            {
                "parameter": "numberResults",
                "value": asked.number_results,
                "reason": "One seed makes the whole batch. Runware uses a separate seed for each result.",
            }
        )
    if asked.clip_skip:
        told.append(
            {
                "parameter": "clipSkip",
                "value": asked.clip_skip,
                "reason": f"Connect CLIP Set Last Layer after the checkpoint, and set it to "
                f"{-1 - asked.clip_skip} for SD 1.5 or {-2 - asked.clip_skip} for SDXL, which already skips "
                "one layer.",
            }
        )
    return told
