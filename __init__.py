"""AIR LoRA for ComfyUI. ComfyUI imports this file when it starts, so this file has no heavy imports."""

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint():
    """Returns the extension with all nodes. ComfyUI's loader calls it once."""
    from .nodes import AirLoraExtension

    return AirLoraExtension()
