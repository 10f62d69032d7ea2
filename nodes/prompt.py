"""Prompt with Trigger Words: a prompt that says what its LoRAs need."""

from __future__ import annotations

from comfy_api.latest import io

from .array.trigger_words import with_missing_words


class AirLoraPrompt(io.ComfyNode):
    """Puts trigger words behind a prompt that does not have them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraPrompt",
            display_name="Prompt with Trigger Words",
            category="loaders/AIR LoRA",
            description="A prompt, with the trigger words behind it that it lacks.",
            inputs=[
                io.String.Input("prompt", multiline=True, default="", dynamic_prompts=True),
                io.String.Input(
                    "trigger_words",
                    force_input=True,
                    tooltip="Of Apply LoRA Array, LoRA Array or Resolve LoRA.",
                ),
                io.Boolean.Input(
                    "append",
                    default=True,
                    optional=True,
                    tooltip="Off: the prompt stays as it is written.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="prompt", tooltip="For CLIP Text Encode."),
                io.String.Output(display_name="appended", tooltip="What the prompt did not have."),
            ],
        )

    @classmethod
    def execute(cls, prompt: str, trigger_words: str, append: bool = True) -> io.NodeOutput:
        """The prompt, and what was put behind it."""
        extended, missing = with_missing_words(prompt, [trigger_words] if append else [])
        return io.NodeOutput(extended, ", ".join(missing))
