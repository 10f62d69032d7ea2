"""The type of a name that a loader's list takes: of a model file, a sampler, a scheduler."""

from __future__ import annotations

from comfy_api.latest import io

LoaderName = io.AnyType
"""To ComfyUI, the type of a list is the list itself, which no output can name; only "anything" fits it."""

FROM_REQUEST = "from the request"
"""In a list of files: the one that the request names."""
