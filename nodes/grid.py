"""LoRA Picture Grid: a list of pictures and labels → one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

if TYPE_CHECKING:
    import torch


class AirLoraGrid(io.ComfyNode):
    """Puts a list of pictures on one sheet. Its inputs are whole lists."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraGrid",
            display_name="LoRA Picture Grid",
            category="loaders/AIR LoRA",
            description=(
                "Puts the images of a LoRA Weight Sweep on one sheet, each below its weight. The images of two "
                "axes make a table."
            ),
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="A list or a batch of images."),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Images per row. 0 makes a sheet that's about square. Tables set their own columns.",
                ),
                io.String.Input(
                    "labels",
                    optional=True,
                    force_input=True,
                    tooltip="The text above each image. Connect the labels of LoRA Weight Sweep.",
                ),
            ],
            outputs=[io.Image.Output(display_name="sheet", tooltip="One image that contains all images.")],
        )

    @classmethod
    def execute(
        cls, images: list[torch.Tensor], columns: list[int], labels: list[str] | None = None
    ) -> io.NodeOutput:
        """Returns the sheet. If an item of the list is a batch, each picture of it gets the item's label."""
        from .pictures.drawing import (  # late, so that ComfyUI starts without loading the drawing code
            to_pictures,
            to_tensor,
        )
        from .pictures.picture_grid import sheet_of

        pictures = []
        texts: list[str] = []
        for number, batch in enumerate(images):
            several = to_pictures(batch)
            pictures += several
            label = labels[number] if labels and number < len(labels) else ""
            texts += [label] * len(several)
        return io.NodeOutput(to_tensor(sheet_of(pictures, texts if labels else [], columns[0])))
