"""A node pack for the test server: nodes for LORA_STACK that work like Comfyroll's and the Efficiency Nodes'.

Both build a list of (name, model weight, CLIP weight), put an incoming stack before (Comfyroll) or after (Efficiency)
their own rows, leave out rows named "None", and apply a stack by passing each tuple's values to
`folder_paths.get_full_path` and ComfyUI's own `load_lora_for_models`. The Efficiency Nodes also accept full paths.
"""

import json
from pathlib import Path

import comfy.sd
import comfy.utils
import folder_paths
from server import PromptServer


class StackOfOthers:
    CATEGORY = FUNCTION = "stack"
    RETURN_TYPES = ("LORA_STACK",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"rows": ("STRING", {})}, "optional": {"lora_stack": ("LORA_STACK",)}}

    def stack(self, rows, lora_stack=None):
        return ([*_own(rows), *_others(lora_stack)],)


class StackOfOthersBehind(StackOfOthers):
    def stack(self, rows, lora_stack=None):
        return ([*_others(lora_stack), *_own(rows)],)


def _own(rows):
    return [tuple(row) for row in json.loads(rows)]


def _others(lora_stack):
    return [row for row in lora_stack or [] if row[0] != "None"]


class ApplyStackOfOthers:
    CATEGORY = FUNCTION = "apply"
    RETURN_TYPES = ("MODEL", "CLIP")

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"model": ("MODEL",), "clip": ("CLIP",), "lora_stack": ("LORA_STACK",)}}

    def apply(self, model, clip, lora_stack):
        for name, model_weight, clip_weight in lora_stack:
            path = name if Path(name).is_absolute() else folder_paths.get_full_path("loras", name)
            lora = comfy.utils.load_torch_file(path, safe_load=True)
            model, clip = comfy.sd.load_lora_for_models(model, clip, lora, model_weight, clip_weight)
        return (model, clip)


class ShowStack:
    CATEGORY = FUNCTION = "show"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"lora_stack": ("LORA_STACK",)}}

    def show(self, lora_stack):
        return {"ui": {"text": [json.dumps(lora_stack)], "kinds": [type(row).__name__ for row in lora_stack]}}


class NeedsWorkflow:
    """Like Impact's Switch and Lora Manager's Save Image: it assumes that `extra_pnginfo` contains a workflow."""

    CATEGORY = FUNCTION = "show"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"model": ("MODEL",)}, "hidden": {"extra_pnginfo": "EXTRA_PNGINFO"}}

    def show(self, model, extra_pnginfo=None):  # noqa: ARG002  # ComfyUI passes it by name
        known = "none" if extra_pnginfo is None else f"{len(extra_pnginfo['workflow']['nodes'])} nodes"
        return {"ui": {"text": [known]}}


class TextOfTheHook:
    """The hook below writes its text into the prompt, as wildcard packs do."""

    CATEGORY = FUNCTION = "text"
    RETURN_TYPES = ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"text": ("STRING", {}), "template": ("STRING", {})}}

    def text(self, text, template):  # noqa: ARG002  # for the hook
        return (text,)


def write_texts(request):
    for node in request.get("prompt", {}).values():
        if node.get("class_type") == "TextOfTheHook":
            node["inputs"]["text"] = node["inputs"]["template"]
    return request


PromptServer.instance.add_on_prompt_handler(write_texts)

OTHERS = (StackOfOthers, StackOfOthersBehind, ApplyStackOfOthers, ShowStack, NeedsWorkflow, TextOfTheHook)
NODE_CLASS_MAPPINGS = {each.__name__: each for each in OTHERS}
