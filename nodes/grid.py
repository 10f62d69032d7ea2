"""LoRA Picture Grid: a list of pictures and labels → one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

if TYPE_CHECKING:
    import torch


class AirLoraGrid(io.ComfyNode):
    """Takes whole lists at once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraGrid",
            display_name="LoRA Picture Grid",
            category="loaders/AIR LoRA",
            description="Puts the pictures of a LoRA Weight Sweep on one sheet, each below its weight.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="A list of pictures, or a batch."),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Pictures in a row; 0 makes a sheet about as wide as high.",
                ),
                io.String.Input(
                    "labels",
                    optional=True,
                    force_input=True,
                    tooltip="What to write above each picture: the labels of LoRA Weight Sweep.",
                ),
            ],
            outputs=[io.Image.Output(display_name="sheet", tooltip="One picture with all of them.")],
        )

    @classmethod
    def execute(
        cls, images: list[torch.Tensor], columns: list[int], labels: list[str] | None = None
    ) -> io.NodeOutput:
        """The sheet. A label that belongs to a batch stands above each picture of it."""
        from .pictures.drawing import (  # late: no start of ComfyUI waits for the drawing
            to_pictures,
            to_tensor,
        )
        from .pictures.picture_grid import grid_of

        pictures = []
        texts: list[str] = []
        for number, batch in enumerate(images):
            several = to_pictures(batch)
            pictures += several
            label = labels[number] if labels and number < len(labels) else ""
            texts += [label] * len(several)
        return io.NodeOutput(to_tensor(grid_of(pictures, texts if labels else [], columns[0])))
