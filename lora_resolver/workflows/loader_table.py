"""Which inputs of other packs' LoRA loaders contain a file name and its strengths: one row per class.

`("lora_name", 0)` is an input's name in the API format, and its position among the page's widgets. Read from
the packs' own sources (August 2026): ComfyUI 0.3.75 to 0.33, rgthree-comfy, ComfyUI-WanVideoWrapper and kijai's others,
ComfyUI-nunchaku, ComfyUI-QwenImageLoraLoader, ComfyUI-Custom-Scripts, efficiency-nodes, ComfyUI-Easy-Use, Inspire and
Impact Pack, ComfyUI-LTXVideo, was-node-suite, Comfyroll, art-venture, SeargeSDXL, tinyterraNodes, x-flux-comfyui,
AnimateDiff-Evolved, Lora-Auto-Trigger-Words, JPS, mikey, prompt-control, Coziness.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NO_LOADERS", "SINGLE", "STACKS", "TAGGED", "Single", "Stack", "Tagged"]

Input = tuple[str, int]
SAME = ("", -1)
"""Instead of the text encoder's strength: the same as the model's."""


@dataclass(frozen=True)
class Single:
    """A node with one file."""

    name: Input = ("lora_name", 0)
    model: Input = ("strength_model", 1)
    clip: Input | None = None
    """None: only the model is patched."""
    switch: Input | None = None
    """Off if its value is False or "Off"."""
    bypass: Input | None = None
    """Off if its value is True."""


@dataclass(frozen=True)
class Stack:
    """A node with numbered rows. `{}` in an input's name is the number. Positions are those of the first row."""

    numbers: range
    step: int
    """The number of widgets per row."""
    name: Input
    model: Input
    clip: Input | None = None
    switch: Input | None = None
    count: Input | None = None
    """How many rows are used, if the node has such an input."""
    toggle: Input | None = None
    """A switch for all rows."""
    mode: Input | None = None
    """If its value is "simple", `simple` is the strength for both."""
    simple: Input = SAME


@dataclass(frozen=True)
class Tagged:
    """A node that loads the `<lora:name:0.7>` tags of its texts."""

    texts: tuple[Input, ...]
    """Position -1: in any widgets that contain text."""
    clip: str = "model"
    """The text encoder's strength if a tag has only one number: the same as the "model"'s, or "one"."""
    mode: Input | None = None
    """If its value is "populate", the texts for the run are made from `populated_from`."""
    populated_from: tuple[Input, ...] = ()


_BOTH = Single(clip=("strength_clip", 2))
_MODEL = Single()


def _easy(name: int, *, clip: bool = True) -> Single:
    return Single(
        ("lora_name", name),
        ("lora_model_strength", name + 1),
        ("lora_clip_strength", name + 2) if clip else None,
    )


SINGLE: dict[str, Single] = {
    # ComfyUI itself. "Bypass" is a way to apply the LoRA; it doesn't switch the LoRA off.
    **dict.fromkeys(("LoraLoader", "LoraLoaderBypass", "CreateHookLora"), _BOTH),
    **dict.fromkeys(("LoraLoaderModelOnly", "LoraLoaderBypassModelOnly", "CreateHookLoraModelOnly"), _MODEL),
    # kijai
    **dict.fromkeys(
        (
            *("WanVideoLoraSelect", "HyVideoLoraSelect", "FramePackLoraSelect"),
            *("CogVideoLoraSelect", "CogVideoLoraSelectComfy"),
        ),
        Single(("lora", 0), ("strength", 1)),
    ),
    "DiTBlockLoraLoader": Single(("lora_name", 1), ("strength_model", 0)),
    "LTX2LoraLoaderAdvanced": _MODEL,
    # Nunchaku
    **dict.fromkeys(
        ("NunchakuFluxLoraLoader", "NunchakuQwenImageLoraLoader"),
        Single(("lora_name", 0), ("lora_strength", 1)),
    ),
    # Lightricks, XLabs
    **dict.fromkeys(("LTXICLoRALoaderModelOnly", "LTXVQ8LoraModelLoader", "FluxLoraLoader"), _MODEL),
    # pysssss, WAS, Auto Trigger Words, AnimateDiff-Evolved
    **dict.fromkeys(
        (
            *("LoraLoader|pysssss", "Lora Loader", "Load Lora", "LoraLoaderVanilla", "LoraLoaderAdvanced"),
            "ADE_RegisterLoraHook",
        ),
        _BOTH,
    ),
    "ADE_RegisterLoraHookModelOnly": _MODEL,
    **dict.fromkeys(
        ("LoraLoaderStackedVanilla", "LoraLoaderStackedAdvanced"),
        Single(("lora_name", 0), ("lora_weight", 1), SAME),
    ),
    **dict.fromkeys(
        ("CR Load LoRA", "Lora Loader (JPS)"),
        Single(("lora_name", 1), ("strength_model", 2), ("strength_clip", 3), switch=("switch", 0)),
    ),
    # Efficiency, Easy Use
    **dict.fromkeys(
        ("Efficient Loader", "easy a1111Loader", "easy comfyLoader", "easy kolorsLoader"), _easy(3)
    ),
    **dict.fromkeys(("easy fullLoader", "easy cascadeLoader"), _easy(4)),
    **dict.fromkeys(("easy hunyuanDiTLoader", "easy fluxLoader"), _easy(2)),
    "easy pixArtLoader": _easy(9, clip=False),
    # Inspire
    "LoraLoaderBlockWeight //Inspire": Single(
        ("lora_name", 1), ("strength_model", 2), ("strength_clip", 3), bypass=("bypass", 11)
    ),
    # tinyterra
    **dict.fromkeys(("ttN pipeKSampler", "ttN pipeKSamplerAdvanced"), _easy(0)),
    **dict.fromkeys(
        (
            *("ttN pipeKSampler_v2", "ttN pipeKSamplerAdvanced_v2", "ttN pipeKSamplerSDXL_v2"),
            "ttN KSampler_v2",
        ),
        Single(("lora_name", 0), ("lora_strength", 1), SAME),
    ),
}

STACKS: dict[str, tuple[Stack, ...]] = {
    "Lora Loader Stack (rgthree)": (Stack(range(1, 5), 2, ("lora_{:02}", 0), ("strength_{:02}", 1), SAME),),
    "CR LoRA Stack": (
        Stack(
            range(1, 4),
            4,
            ("lora_name_{}", 1),
            ("model_weight_{}", 2),
            ("clip_weight_{}", 3),
            switch=("switch_{}", 0),
        ),
    ),
    "LoRA Stacker": (
        Stack(
            range(1, 51),
            4,
            ("lora_name_{}", 2),
            ("model_str_{}", 4),
            ("clip_str_{}", 5),
            count=("lora_count", 1),
            mode=("input_mode", 0),
            simple=("lora_wt_{}", 3),
        ),
    ),
    **dict.fromkeys(
        ("easy loraStack", "ttN pipeLoraStack"),
        (
            Stack(
                range(1, 21),
                4,
                ("lora_{}_name", 3),
                ("lora_{}_model_strength", 5),
                ("lora_{}_clip_strength", 6),
                count=("num_loras", 2),
                toggle=("toggle", 0),
                mode=("mode", 1),
                simple=("lora_{}_strength", 4),
            ),
        ),
    ),
    "WanVideoLoraSelectMulti": (Stack(range(5), 2, ("lora_{}", 0), ("strength_{}", 1)),),
    "NunchakuFluxLoraStack": (Stack(range(1, 16), 2, ("lora_name_{}", 0), ("lora_strength_{}", 1)),),
    "SeargeLoras": (Stack(range(1, 6), 2, ("lora_{}", 0), ("lora_{}_strength", 1), SAME),),
    "ttN pipeLoader": (
        Stack(
            range(1, 4),
            3,
            ("lora{}_name", 4),
            ("lora{}_model_strength", 5),
            ("lora{}_clip_strength", 6),
        ),
    ),
    "ttN pipeLoaderSDXL": (
        Stack(range(1, 3), 3, ("lora{}_name", 2), ("lora{}_model_strength", 3), ("lora{}_clip_strength", 4)),
        Stack(
            range(1, 3),
            3,
            ("refiner_lora{}_name", 10),
            ("refiner_lora{}_model_strength", 11),
            ("refiner_lora{}_clip_strength", 12),
        ),
    ),
}

TAGGED: dict[str, Tagged] = {
    "LoraTagLoader": Tagged((("text", 0),)),
    "LoraTextExtractor-b1f83aa2": Tagged((("text", 0),)),
    **dict.fromkeys(
        ("PCLazyLoraLoader", "PCLazyLoraLoaderAdvanced", "PCLoraHooksFromText"), Tagged((("text", 0),))
    ),
    # Lora Manager's nodes get the text through a link.
    "LoRA Text Loader (LoraManager)": Tagged((("lora_syntax", -1),)),
    "WanVideo Lora Select From Text (LoraManager)": Tagged((("lora_syntax", -1),)),
    # Impact and Inspire: the run uses the populated text.
    "ImpactWildcardEncode": Tagged(
        (("populated_text", 1),), mode=("mode", 2), populated_from=(("wildcard_text", 0),)
    ),
    "WildcardEncode //Inspire": Tagged(
        (("populated_text", 3),), mode=("mode", 4), populated_from=(("wildcard_text", 2),)
    ),
    "MakeBasicPipe //Inspire": Tagged(
        (("positive_populated_text", 8), ("negative_populated_text", 9)),
        mode=("wildcard_mode", 7),
        populated_from=(("positive_wildcard_text", 2), ("negative_wildcard_text", 3)),
    ),
    "RegionalPromptSimple //Inspire": Tagged((("wildcard_prompt", 3),)),
    "RegionalPromptColorMask //Inspire": Tagged((("wildcard_prompt", 4),)),
    "FaceDetailer": Tagged((("wildcard", 23),)),
    **dict.fromkeys(
        (
            *("DetailerForEach", "DetailerForEachDebug"),
            *("DetailerForEachPipe", "DetailerForEachDebugPipe"),
        ),
        Tagged((("wildcard", 13),)),
    ),
    **dict.fromkeys(
        (
            *("ToDetailerPipe", "ToDetailerPipeSDXL", "EditDetailerPipe", "EditDetailerPipeSDXL"),
            *("BasicPipeToDetailerPipe", "BasicPipeToDetailerPipeSDXL"),
        ),
        Tagged((("wildcard", 0),)),
    ),
    # Easy Use's loaders load the tags of both prompts in addition to their file.
    "easy fullLoader": Tagged((("positive", 10), ("negative", 13)), clip="one"),
    "easy a1111Loader": Tagged((("positive", 9), ("negative", 10)), clip="one"),
    "easy comfyLoader": Tagged((("positive", 9), ("negative", 10)), clip="one"),
    "easy hunyuanDiTLoader": Tagged((("positive", 8), ("negative", 9)), clip="one"),
    "easy cascadeLoader": Tagged((("positive", 11), ("negative", 12)), clip="one"),
    "easy fluxLoader": Tagged((("positive", 8),), clip="one"),
    "easy mochiLoader": Tagged((("positive", 2), ("negative", 3)), clip="one"),
    "easy loraPromptApply": Tagged((("positive", 0), ("negative", 1)), clip="one"),
    # rgthree's prompts, mikey, tinyterra
    "Power Prompt (rgthree)": Tagged((("prompt", 0),)),
    "SDXL Power Prompt - Positive (rgthree)": Tagged((("prompt_g", 0), ("prompt_l", 1))),
    **dict.fromkeys(("LoraSyntaxProcessor", "WildcardAndLoraSyntaxProcessor"), Tagged((("text", 0),))),
    "Prompt With Style V3": Tagged((("positive_prompt", 0), ("negative_prompt", 1))),
    **dict.fromkeys(("ttN pipeLoader_v2", "ttN pipeLoaderSDXL_v2"), Tagged((("loras", 4),))),
    "ttN conditioning": Tagged((("loras", 0),)),
}

NO_LOADERS = frozenset(
    {
        # Lora Manager's others
        *(
            f"{name} (LoraManager)"
            for name in (
                *("Prompt", "Text", "Debug Metadata", "TriggerWord Toggle", "Save Image", "Lora Info"),
                *("Metadata Overwrite", "Lora Pool", "Lora Stack Combiner", "LoRA Syntax → Path"),
                *("Checkpoint Loader", "Unet Loader", "Random Checkpoint Loader", "Random Unet Loader"),
            )
        ),
        # These pass on a name or a text, print, or contain block settings for another node's LoRA.
        *("easy loraNames", "LoraListNames", "LoraTagsOnly", "LoraBlockInfo //Inspire"),
        *("WanVideoLoraBlockEdit", "HyVideoLoraBlockEdit", "WanVideoSetLoRAs"),
        *("ImpactWildcardProcessor", "easy wildcards", "easy wildcardsMatrix"),
        *("LoRA Stack to String converter", "CR Apply LoRA Stack", "easy loraStackApply"),
        *("Power Prompt - Simple (rgthree)", "SDXL Power Prompt - Simple / Negative (rgthree)"),
        *("ADE_AnimateDiffLoRALoader", "Krea2ControlNetLoraLoader", "CreateHookModelAsLora"),
        *("CreateHookModelAsLoraModelOnly", "LoraModelLoader", "LoraSave", "SaveLoRA"),
        # Notes and texts load nothing, whatever they contain.
        *("Note", "MarkdownNote", "CLIPTextEncode", "Label (rgthree)"),
    }
)
"""Classes that mention LoRAs or have LoRA in their name, but don't load any."""
