"""Save LoRA Array as One LoRA: replaces a stack with one file that any program can load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .array.inputs import LoaderName, TakesArray, expert_input, lora_input, read_array, refusal
from .array.lora_stack import LoraStack, stack_entries
from .server.failures import tells_programs
from .server.model_folders import loader_name
from .server.saved_loras import IF_EXISTS, checked_name

if TYPE_CHECKING:
    from .array.lora_stack import Row

LARGEST_RANK = 4096


class AirLoraSave(TakesArray):
    """Merges an array into one file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraSave",
            display_name="Save LoRA Array as One LoRA",
            category="loaders/AIR LoRA",
            description=(
                "Merges the LoRAs of an array, at their weights, into one file in the loras folder that any "
                "program can load. The merge is exact, or reduced to a rank with the error reported."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint's diffusion model, without LoRAs."),
                lora_input(),
                io.String.Input(
                    "file_name",
                    default="merged/my-mix",
                    tooltip="The path in ComfyUI's loras folder. The file extension is added automatically.",
                ),
                io.Int.Input(
                    "rank",
                    default=0,
                    min=0,
                    max=LARGEST_RANK,
                    tooltip="0 keeps the merge exact, with all ranks stacked. Other values give the best "
                    "approximation of that rank, in a smaller file.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["fp16", "bf16", "fp32"],
                    default="fp16",
                    tooltip="The precision of the numbers in the file.",
                ),
                io.Combo.Input(
                    "if_exists",
                    options=list(IF_EXISTS),
                    default=IF_EXISTS[0],
                    tooltip="What to do if the file already exists: number the new file, stop, or replace the "
                    "old file.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder. Without it, the file doesn't include text-encoder changes.",
                ),
                expert_input(),
                LoraStack.Input(
                    "lora_stack",
                    optional=True,
                    tooltip="LoRAs from another pack's stack node. They're added to the array.",
                ),
            ],
            outputs=[
                LoaderName.Output(display_name="lora_name", tooltip="For the lora_name input of Load LoRA."),
                io.String.Output(display_name="lora", tooltip="The saved file as a lora array, at weight 1."),
                io.String.Output(
                    display_name="report", tooltip="What was saved, its rank, and its error, as JSON."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, lora: str | None, file_name: str | None = None) -> bool | str:
        """Rejects an invalid array or name when the prompt is queued. A connected input is still None then."""

        def check() -> None:
            if lora is not None:
                read_array(lora)
            if file_name is not None:
                checked_name(file_name)

        return refusal(check)

    @classmethod
    @tells_programs
    def execute(
        cls,
        model: Any,
        lora: str,
        file_name: str,
        rank: int,
        precision: str,
        if_exists: str,
        clip: Any = None,
        expert: str = "both",
        lora_stack: list[Row] | None = None,
    ) -> io.NodeOutput:
        """Returns the name for loaders, the array, and the report."""
        # Imported late, so that ComfyUI starts without loading the patching code.
        from .array.apply import apply_array
        from .array.merged_lora import save_merged

        outcome = apply_array(
            model,
            clip,
            [*read_array(lora), *stack_entries(lora_stack)],
            skip_mismatches=False,
            expert=expert,
            node_id=cls.hidden.unique_id,
            only_entries=True,
        )
        saved = save_merged(
            model,
            clip,
            outcome,
            file_name=file_name,
            if_exists=if_exists,
            rank=rank or None,
            precision=precision,
            node_id=cls.hidden.unique_id,
        )
        array = json.dumps([{"model": f"local:{saved.report['file']}"}], ensure_ascii=False)
        report = json.dumps(saved.report, ensure_ascii=False, indent=2)
        return io.NodeOutput(loader_name(saved.path), array, report, ui={"text": [report]})
