"""Runware Request: a whole image request as the values of a workflow's own nodes."""

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

POSITIVE, CHECKPOINT, VAE = 0, 11, 12
"""Numbers of the outputs that may cost a look-up or a download."""

SIZE_STEP = 8
"""Pixels that one unit of a latent stands for."""

GUIDED = frozenset({"flux1", "flux2"})
"""Families that were distilled to take guidance as a number, in place of a second run for the negative prompt."""


class AirLoraRequest(io.ComfyNode):
    """What a Runware image request says, one output for each thing that a workflow's nodes take."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraRequest",
            display_name="Runware Request",
            category="loaders/AIR LoRA",
            description=(
                "A whole image request of the Runware API as prompts, size, steps, CFG, seed, sampler, checkpoint, VAE "
                "and LoRAs. The report lists what the request says and these outputs do not."
            ),
            inputs=[
                io.String.Input(
                    "request",
                    multiline=True,
                    default="",
                    placeholder=EXAMPLE,
                    tooltip="A task object, or an array of them. Comments and trailing commas are fine. "
                    "Leave the API key out.",
                ),
                io.Int.Input(
                    "task", default=1, min=1, max=1000, optional=True, tooltip="Which of several image tasks."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    optional=True,
                    tooltip="For a request without a seed.",
                ),
                io.Combo.Input(
                    "checkpoint",
                    options=[FROM_REQUEST, *listed_files("checkpoint")],
                    default=FROM_REQUEST,
                    optional=True,
                    tooltip="A file of yours in place of the request's model: many models run on Runware only.",
                ),
                io.Combo.Input(
                    "trigger_words",
                    options=["as written", "append missing"],
                    default="as written",
                    optional=True,
                    tooltip="Whether the LoRAs' trigger words are put behind the prompt, where it does not have them.",
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
                    tooltip="The request's CFGScale. For FLUX, connect it to FluxGuidance and leave the sampler's "
                    "at 1.",
                ),
                LoaderName.Output(display_name="sampler_name"),
                LoaderName.Output(display_name="scheduler"),
                io.Float.Output(
                    display_name="denoise",
                    tooltip="The request's strength, if it starts from a picture; else 1.",
                ),
                LoaderName.Output(
                    display_name="checkpoint",
                    tooltip="For Load Checkpoint, or Load Diffusion Model for a file of that folder. "
                    "Connecting it downloads what is not on this disk.",
                ),
                LoaderName.Output(
                    display_name="vae",
                    tooltip="For Load VAE, if the request has one. Connecting it downloads it.",
                ),
                io.String.Output(display_name="lora", tooltip="The array, for Apply LoRA Array."),
                io.String.Output(
                    display_name="report", tooltip="What became of each part of the request, as JSON."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, request: str | None, task: int | None = 1) -> bool | str:
        """Refuses a malformed request when the prompt is queued. A wired-in text is not known yet: None."""
        if request is None or task is None:
            return True
        try:
            parse_image_request(request, task)
        except LoraResolverError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, **_values: Any) -> str:
        """Runs again when an output is wired that was not filled before."""
        wired = wired_outputs()
        return "all" if wired is None else str(sorted(wired & {POSITIVE, CHECKPOINT, VAE}))

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
        """All that the request says, then the report."""
        from ...lora_resolver import (
            Resolver,
        )  # late: it needs an HTTP client, which no start of ComfyUI waits for

        # Late: no start of ComfyUI waits for these.
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
        report["left_out"] = [
            *_limits(asked, model.families if model else ()),
            *(each.as_dict() for each in asked.left_out),
        ]
        return io.NodeOutput(
            positive,
            asked.negative,
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
    """What these outputs hold only in part. `families` of the checkpoint, if known."""
    told = [
        {"parameter": name, "value": size, "reason": f"Sizes go in steps of {SIZE_STEP} here."}
        for name, size in (("width", asked.width), ("height", asked.height))
        if size % SIZE_STEP
    ]
    if GUIDED.intersection(families):
        told.append(
            {
                "parameter": "CFGScale",
                "value": asked.cfg_scale,
                "reason": "This model takes it as guidance: connect cfg to FluxGuidance, and leave the "
                "sampler's at 1.",
            }
        )
    if asked.number_results > 1:
        told.append(
            {
                "parameter": "numberResults",
                "value": asked.number_results,
                "reason": "One seed makes the whole batch; Runware gives each result a seed of its own.",
            }
        )
    if asked.clip_skip:
        told.append(
            {
                "parameter": "clipSkip",
                "value": asked.clip_skip,
                "reason": f"Put CLIP Set Last Layer behind the checkpoint: {-1 - asked.clip_skip} for SD 1.5, "
                f"{-2 - asked.clip_skip} for SDXL, which skips one layer already.",
            }
        )
    return told
