"""AIR LoRA for ComfyUI. ComfyUI imports this file at its start, so nothing heavy is imported here."""

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint():
    """Called once by ComfyUI's loader; returns the extension with all nodes."""
    from .nodes import AirLoraExtension

    return AirLoraExtension()
