"""A node of another pack that saves sound, as such packs do. The endpoint's tests put it into custom_nodes."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import folder_paths


class SaveSound:
    """A second of silence."""

    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"images": ("IMAGE",), "filename_prefix": ("STRING", {"default": "sound"})}}

    def save(self, images: Any, filename_prefix: str) -> dict[str, Any]:
        del images
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        file = f"{name}_{counter:05}_.wav"
        with wave.open(str(Path(folder, file)), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
        return {"ui": {"audio": [{"filename": file, "subfolder": subfolder, "type": "output"}]}}


NODE_CLASS_MAPPINGS = {"SaveSoundForTests": SaveSound}
