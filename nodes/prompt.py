"""Prompt with Trigger Words: adds the trigger words that a prompt's LoRAs need."""

from __future__ import annotations

from comfy_api.latest import io

from .array.trigger_words import with_missing_words


class AirLoraPrompt(io.ComfyNode):
    """Appends missing trigger words to a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraPrompt",
            display_name="Prompt with Trigger Words",
            category="loaders/AIR LoRA",
            description="Appends missing trigger words to a prompt.",
            inputs=[
                io.String.Input("prompt", multiline=True, default="", dynamic_prompts=True),
                io.String.Input(
                    "trigger_words",
                    force_input=True,
                    tooltip="From Apply LoRA Array, LoRA Array, or Resolve LoRA.",
                ),
                io.Boolean.Input(
                    "append",
                    default=True,
                    optional=True,
                    tooltip="If off, the prompt stays unchanged.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="prompt", tooltip="For CLIP Text Encode."),
                io.String.Output(display_name="appended", tooltip="The trigger words that were appended."),
            ],
        )

    @classmethod
    def execute(cls, prompt: str, trigger_words: str, append: bool = True) -> io.NodeOutput:
        """Returns the prompt, and the words that were appended."""
        extended, missing = with_missing_words(prompt, [trigger_words] if append else [])
        return io.NodeOutput(extended, ", ".join(missing))
