"""The table of all model families that LoRAs are trained for, with the numbers that distinguish them.

One row is one size of one family. A file belongs to the rows that have all its modules, by name, number and size. If a
file belongs to several rows, no header can distinguish them.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from . import encoder_layouts as text_encoders
from . import end_layouts as ends
from . import flux_layouts as flux_names
from . import layouts as names
from . import recent_layouts as recent
from . import video_layouts as video
from .encoder_layouts import in_slots
from .table import Index, Layout, Row
from .unet import cut_unet_layout, unet_layouts, unet_positional_layouts, video_unet_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FAMILY_NAMES", "UNET_FAMILIES", "family_blocks", "family_index", "family_name", "family_names"]

FAMILY_NAMES = MappingProxyType(
    {
        "sd1": "SD 1.x",
        "sd2": "SD 2.x",
        "sdxl": "SDXL",
        "sdxl_refiner": "SDXL refiner",
        "kolors": "Kolors",
        "cascade": "Stable Cascade",
        "sd3": "SD 3",
        "flux1": "FLUX.1",
        "chroma": "Chroma",
        "flux2": "FLUX.2",
        "hunyuan_video": "HunyuanVideo",
        "hunyuan_video_1_5": "HunyuanVideo 1.5",
        "hunyuan_image": "HunyuanImage",
        "hunyuan_dit": "Hunyuan-DiT",
        "qwen_image": "Qwen-Image",
        "qwen_image_2": "Qwen-Image 2",
        "z_image": "Z-Image",
        "lumina2": "Lumina 2",
        "omnigen2": "OmniGen2",
        "ernie_image": "ERNIE-Image",
        "wan_14b": "Wan 14B",
        "wan_5b": "Wan 2.2 5B",
        "wan_1_3b": "Wan 2.1 1.3B",
        "anima": "Anima",
        "cosmos_predict2": "Cosmos-Predict2",
        "ltxv": "LTX-Video",
        "ltx2": "LTX-2",
        "pixart": "PixArt",
        "sana": "Sana",
        "mochi": "Mochi",
        "cogvideox": "CogVideoX",
        "hidream": "HiDream",
        "auraflow": "AuraFlow",
        "krea2": "Krea 2",
        "minimax_h3": "MiniMax H3",
        "kandinsky5": "Kandinsky 5",
        "ace_step": "ACE-Step",
        "stable_audio": "Stable Audio",
        "stable_audio_3": "Stable Audio 3",
        "longcat_image": "LongCat-Image",
        "ovis_image": "Ovis-Image",
        "mage_flow": "Mage-Flow",
        "newbie": "NewBie",
        "lens": "Lens",
        "joyimage": "JoyImage",
        "boogu": "Boogu",
        "ideogram4": "Ideogram 4",
        "pixeldit": "PixelDiT",
        "hidream_o1": "HiDream-O1",
        "hunyuan3d2": "Hunyuan3D 2",
        "hunyuan_image_refiner": "HunyuanImage refiner",
        "seedvr2": "SeedVR2",
        "cosmos1": "Cosmos 1",
        "svd": "Stable Video Diffusion",
        "cascade_b": "Stable Cascade B",
        "minimax_music3": "MiniMax Music 3",
    }
)

UNET_FAMILIES = frozenset({"sd1", "sd2", "sdxl", "sdxl_refiner", "kolors", "svd", "cascade", "cascade_b"})


def family_name(family: str) -> str:
    """The name of a family: `family_name("sd1")` is "SD 1.x". An ID that isn't in the table is returned unchanged."""
    return FAMILY_NAMES.get(family, family)


def family_names(families: Sequence[str]) -> str:
    """`family_names(("flux1", "chroma"))` is "FLUX.1 or Chroma"."""
    *others, last = map(family_name, families)
    return f"{', '.join(others)} or {last}" if others else last


def _row(
    family: str,
    variant: str,
    layouts: Sequence[Layout],
    stacks: Sequence[str] = (),
    **sizes: int,
) -> Row:
    """`stacks` are the blocks whose number depends on the row: "double_blocks D single_blocks S"."""
    return Row(
        family=family,
        variant=variant,
        layouts=tuple(layouts),
        sizes=sizes,
        stacks=tuple(_stack(text.split(), sizes) for text in stacks),
    )


def _stack(words: Sequence[str], sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((name, sizes[letter]) for name, letter in zip(words[::2], words[1::2]))


def _clip(*slots: str, w: int, layers: int) -> tuple[Layout, ...]:
    return in_slots(text_encoders.CLIP, *slots, w=w, L=layers)


# Trainers' names for the text encoders: kohya lora_te_, lora_te1_…; diffusers text_encoder, text_encoder_2…; ComfyUI
# clip_l, clip_g, t5xxl. "bare" is an encoder without a prefix.
_CLIP_L = _clip("te1", "text_encoder", "clip_l", "bare", w=768, layers=12)
_CLIP_L_ALONE = _clip("te", "text_encoder", "clip_l", "bare", w=768, layers=12)
_CLIP_H_ALONE = _clip("te", "text_encoder", "clip_h", "bare", w=1024, layers=24)
_CLIP_G = _clip("te2", "text_encoder_2", "clip_g", "bare", w=1280, layers=32)
_CLIP_G_PRIOR = _clip("prior_te", "text_encoder", w=1280, layers=32)
_T5_SECOND = in_slots(text_encoders.T5, "te2", "text_encoder_2", "t5xxl")
_T5_THIRD = in_slots(text_encoders.T5, "te3", "text_encoder_3", "t5xxl")
_T5_ALONE = in_slots(text_encoders.T5, "te", "te1", "text_encoder", "t5xxl")


def _llm(*slots: str, w: int, layers: int) -> tuple[Layout, ...]:
    return in_slots(text_encoders.LLM, *slots, w=w, L=layers)


def _dotted(*layouts: Layout) -> tuple[Layout, ...]:
    return tuple(replace(layout, dotted=True) for layout in layouts)


def _sdxl_like() -> Iterable[Row]:
    """SDXL and Kolors have the same UNet. Only LoRAs for SDXL use the UNet's original names."""
    diffusers, original = unet_layouts(
        (320, 640, 1280), (0, 2, 10), context=2048, middle=10, linear=True, added=2816
    )
    positional = unet_positional_layouts((640, 1280), context=2048, attentions=70)
    yield _row("sdxl", "", (diffusers, original, *positional, *_CLIP_L, *_CLIP_G))
    chatglm = in_slots(text_encoders.CHATGLM, "te", "te1", "text_encoder")
    kolors, _ = unet_layouts((320, 640, 1280), (0, 2, 10), context=2048, middle=10, linear=True, added=5632)
    yield replace(
        _row("kolors", "", (kolors, names.KOLORS_PROJECTION, *chatglm)), essential=("encoder_hid_proj",)
    )


def _stable_diffusion() -> Iterable[Row]:
    widths, depths = (320, 640, 1280, 1280), (1, 1, 1, 0)
    encoder = ("te:text_model_encoder_layers L",)
    sd1 = unet_layouts(widths, depths, context=768, middle=1, linear=False)
    positional = unet_positional_layouts(widths[:3], context=768, attentions=16)
    yield _row("sd1", "", (*sd1, *positional, *_CLIP_L_ALONE), encoder, L=12)
    sd2 = unet_layouts(widths, depths, context=1024, middle=1, linear=True)
    positional = unet_positional_layouts(widths[:3], context=1024, attentions=16)
    yield _row("sd2", "", (*sd2, *positional, *_CLIP_H_ALONE), encoder, L=24)
    yield from _sdxl_like()
    refiner = unet_layouts(
        (384, 768, 1536, 1536), (0, 4, 4, 0), context=1280, middle=4, linear=True, added=2560
    )
    yield _row("sdxl_refiner", "", (*refiner, *_CLIP_G))
    yield _row("cascade", "", (names.CASCADE_C, *_CLIP_G_PRIOR), h=2048)
    yield _row("cascade", "Stable Cascade lite", (names.CASCADE_C, *_CLIP_G_PRIOR), h=1536)
    sd3 = (names.SD3, names.SD3_DIFFUSERS, *_CLIP_L, *_CLIP_G, *_T5_THIRD)
    stacks = ("joint_blocks N", "transformer_blocks N")
    yield _row("sd3", "SD 3 medium", sd3, stacks, h=1536, N=24)
    sd35 = _row("sd3", "SD 3.5 medium", (*sd3, names.SD35_MEDIUM), stacks, h=1536, N=24, A=13)
    yield replace(sd35, essential=("joint_blocks_#_x_block_attn2", "transformer_blocks_#_attn2"))
    yield _row("sd3", "SD 3.5 large", sd3, stacks, h=2432, N=38)


def _last_resort() -> Iterable[Row]:
    """UNets that were pruned (BK-SDM, KOALA) or made small. Only the width of the text distinguishes them.

    Also Stable Video Diffusion, whose layers for images are those of SD 2.x: only a layer for time proves that a file
    is for it.
    """
    encoders = {
        "sd1": _CLIP_L_ALONE,
        "sd2": _CLIP_H_ALONE,
        "sdxl": (*_CLIP_L, *_CLIP_G),
        "sdxl_refiner": _CLIP_G,
    }
    for family, width in (("sd1", 768), ("sd2", 1024), ("sdxl", 2048), ("sdxl_refiner", 1280)):
        yield _row(family, "cut", (cut_unet_layout(context=width), *encoders[family]))
    widths, depths = (320, 640, 1280, 1280), (1, 1, 1, 0)
    images = unet_layouts(widths, depths, context=1024, middle=1, linear=True, added=768)
    row = _row("svd", "", (*images, video_unet_layout()))
    yield replace(row, proof=("temporal_", "time_stack", "time_pos_embed", "spatial_res_block"))


_OF_A_MODEL = ("diffusion_model.", "lora_unet_", "lycoris_")
"""Beginnings of names that only adapters of diffusion models have."""


def _flux_like() -> Iterable[Row]:
    stacks = ("double_blocks D single_blocks S", "transformer_blocks D single_transformer_blocks S")
    flux = {"D": 19, "S": 38, "h": 3072, "u": 12288, "m": 12288, "l": 21504, "k": 15360, "t": 4096, "x": 64}
    shared = (
        flux_names.FLUX,
        flux_names.FLUX_ENDS,
        flux_names.FLUX_DIFFUSERS,
        flux_names.FLUX_DIFFUSERS_ENDS,
    )
    modulated = (flux_names.FLUX_MODULATION, flux_names.FLUX_DIFFUSERS_MODULATION)
    yield _row(
        "flux1", "", (*shared, *modulated, flux_names.XLABS, *_CLIP_L, *_T5_SECOND), stacks, **flux, v=768
    )
    yield _row(
        "chroma", "", (*shared, flux_names.CHROMA_GUIDANCE, ends.CHROMA_RADIANCE, *_T5_ALONE), stacks, **flux
    )

    # FLUX.1 with fewer blocks and the text encoder of Qwen; it has neither guidance nor a pooled text.
    longcat = {**flux, "D": 10, "S": 20, "t": 3584}
    yield _row("longcat_image", "", (*shared, *modulated, ends.LONGCAT_ENDS), stacks, **longcat, v=768)
    ovis = {**flux, "D": 6, "S": 27, "t": 2048, "u": 24576, "l": 33792}
    yield _row(
        "ovis_image", "", (*shared, *modulated, flux_names.OVIS, ends.OVIS_ENDS), stacks, **ovis, v=768
    )

    flux2 = (flux_names.FLUX, flux_names.FLUX2, flux_names.FLUX2_DIFFUSERS)
    for variant, h, t, double, single in (
        ("FLUX.2 dev", 6144, 15360, 8, 48),
        ("FLUX.2 klein 9B", 4096, 12288, 8, 24),
        ("FLUX.2 klein 4B", 3072, 7680, 5, 20),
    ):
        sizes = {"h": h, "u": 6 * h, "m": 3 * h, "l": 9 * h, "k": 4 * h, "t": t, "x": 128}
        yield _row("flux2", variant, flux2, stacks, **sizes, D=double, S=single)

    # ComfyUI names its blocks like FLUX's, but trainers that flatten names use Tencent's names (fc1, mod_linear).
    hunyuan = (
        flux_names.HUNYUAN,
        flux_names.HUNYUAN_TENCENT,
        recent.HUNYUAN_MUSUBI,
        flux_names.HUNYUAN_DIFFUSERS,
        ends.HUNYUAN_ENDS,
        flux_names.FLUX_DIFFUSERS,
        flux_names.FLUX_DIFFUSERS_MODULATION,
        *_dotted(flux_names.FLUX, flux_names.FLUX_MODULATION),
    )
    clip = (*_CLIP_L, *_clip("te2", "text_encoder_2", w=768, layers=12))
    for family, h, t, double, single, encoders in (
        ("hunyuan_video", 3072, 4096, 20, 40, (*clip, ends.FRAMEPACK_ENDS)),
        ("hunyuan_image", 3584, 3584, 20, 40, ()),
        ("hunyuan_image_refiner", 3328, 3584, 20, 40, ()),
        ("hunyuan_video_1_5", 2048, 3584, 54, 0, (ends.HUNYUAN_15_ENDS,)),
    ):
        sizes = {"h": h, "u": 4 * h, "m": 4 * h, "l": 7 * h, "k": 5 * h, "t": t, "v": 768}
        yield _row(family, "", (*hunyuan, *encoders), stacks, **sizes, D=double, S=single)
    shape = {"h": 1024, "u": 4096, "m": 4096, "l": 7168, "k": 5120, "t": 1536}
    three_d = (flux_names.FLUX, recent.HUNYUAN3D2_ENDS)
    yield _row("hunyuan3d2", "Hunyuan3D 2", three_d, stacks, **shape, D=16, S=32)
    yield _row("hunyuan3d2", "Hunyuan3D 2 mini", three_d, stacks, **shape, D=8, S=16)
    yield _row("hunyuan3d2", "Hunyuan3D 2.1", (recent.HUNYUAN3D21,), ("blocks N",), N=21)
    yield _row(
        "hunyuan_dit", "", (flux_names.HUNYUAN_DIT, ends.HUNYUAN_DIT_ENDS), ("blocks N",), h=1408, N=40
    )


def _layered() -> Iterable[Row]:
    lumina = {"h": 2304, "q": 3840, "k": 768, "d": 96, "f": 9216, "c": 1024, "t": 2304, "N": 26}
    yield _row(
        "lumina2",
        "",
        (names.LUMINA, names.LUMINA_DIFFUSERS, ends.LUMINA_ENDS, *_llm("te", w=2304, layers=26)),
        ("layers N",),
        **lumina,
    )
    newbie = {**lumina, "t": 2560, "N": 36}
    yield _row(
        "newbie",
        "",
        (names.LUMINA, names.LUMINA_DIFFUSERS, ends.LUMINA_ENDS, names.NEWBIE),
        ("layers N",),
        **newbie,
    )
    z_image = {"h": 3840, "q": 11520, "d": 128, "f": 10240, "c": 256, "t": 2560, "N": 30}
    yield _row("z_image", "", (names.LUMINA, names.Z_IMAGE), ("layers N",), **z_image)
    omnigen = {"h": 2520, "k": 840, "f": 10240, "c": 1024, "t": 2048, "N": 32}
    yield _row("omnigen2", "", (names.LUMINA_DIFFUSERS, names.OMNIGEN2), ("layers N",), **omnigen)
    yield _row("ideogram4", "", (recent.IDEOGRAM4, recent.IDEOGRAM4_DIFFUSERS), ("layers N",), N=34)
    yield _row("ernie_image", "", (names.ERNIE_IMAGE, ends.ERNIE_ENDS), ("layers N",), h=4096, f=12288, N=36)


def _wan() -> Iterable[Row]:
    layouts = (video.WAN, video.WAN_IMAGE, video.WAN_DIFFUSERS)
    yield _row("wan_14b", "", (*layouts, recent.WAN_PARTS), ("blocks N",), h=5120, f=13824, N=40, V=8)
    yield _row("wan_5b", "", (video.WAN, video.WAN_DIFFUSERS), ("blocks N",), h=3072, f=14336, N=30, V=15)
    yield _row("wan_1_3b", "", layouts, ("blocks N",), h=1536, f=8960, N=30, V=15)


def _others() -> Iterable[Row]:
    stacks = ("transformer_blocks N",)
    yield _row("qwen_image", "", (names.QWEN_IMAGE,), stacks, h=3072, N=60, t=3584, x=64)
    yield _row("mage_flow", "", (names.QWEN_IMAGE,), stacks, h=3072, N=12, t=2560, x=128)
    yield _row("qwen_image_2", "", (names.QWEN_IMAGE_2,), stacks, h=4096, N=32)
    # Anima is Cosmos-Predict2 2B with an adapter for its text encoder. Without that part, they can't be distinguished.
    anima = (video.COSMOS_PREDICT2, video.ANIMA_ADAPTER, *_llm("te", w=1024, layers=28))
    yield replace(_row("anima", "", anima, ("blocks N",), h=2048, N=28), essential=("llm_adapter_",))
    cosmos = (video.COSMOS_PREDICT2, recent.COSMOS_DIFFUSERS, ends.COSMOS_ENDS)
    blocks = ("blocks N", *stacks)
    yield _row("cosmos_predict2", "Cosmos-Predict2 2B", cosmos, blocks, h=2048, N=28)
    yield _row("cosmos_predict2", "Cosmos-Predict2 14B", cosmos, blocks, h=5120, N=36)
    for variant, h, count in (("Cosmos 1 7B", 4096, 28), ("Cosmos 1 14B", 5120, 36)):
        first = (recent.cosmos1(count), recent.COSMOS_DIFFUSERS, ends.COSMOS_ENDS)
        yield _row("cosmos1", variant, first, stacks, h=h, N=count)
    yield _row("ltxv", "LTX-Video 2B", (video.LTXV, ends.LTXV_ENDS, *_T5_ALONE), stacks, h=2048, N=28)
    yield _row("ltxv", "LTX-Video 13B", (video.LTXV, ends.LTXV_ENDS, *_T5_ALONE), stacks, h=4096, N=48)
    yield replace(
        _row("ltx2", "", (video.LTX2, ends.LTX2_ENDS), stacks, h=4096, a=2048, N=48), essential=("audio_",)
    )
    pixart = (video.PIXART, video.PIXART_DIFFUSERS, *_T5_ALONE)
    yield _row("pixart", "", pixart, (*stacks, "blocks N"), h=1152, N=28)
    yield _row("sana", "Sana 0.6B", (video.SANA, ends.SANA_ENDS), stacks, h=1152, N=28)
    yield _row("sana", "Sana 1.6B", (video.SANA, ends.SANA_ENDS), stacks, h=2240, N=20)
    yield _row("sana", "Sana 4.8B", (video.SANA, ends.SANA_ENDS), stacks, h=2240, N=60)
    yield _row(
        "mochi", "", (video.MOCHI, video.MOCHI_DIFFUSERS, ends.MOCHI_ENDS), (*stacks, "blocks N"), N=48
    )
    cogvideox = (video.COGVIDEOX, ends.COGVIDEOX_ENDS, recent.COGVIDEOX_COMFYUI, *_T5_ALONE)
    yield _row("cogvideox", "CogVideoX 2B", cogvideox, blocks, h=1920, N=30)
    yield _row("cogvideox", "CogVideoX 5B", cogvideox, blocks, h=3072, N=42)
    hidream = (names.HIDREAM, *_CLIP_L, *_CLIP_G, *_T5_THIRD)
    yield _row("hidream", "", hidream, ("double_stream_blocks D single_stream_blocks N",), h=2560, D=16, N=32)
    auraflow = (names.AURAFLOW, names.AURAFLOW_DIFFUSERS)
    pairs = ("double_layers D single_layers S", "joint_transformer_blocks D single_transformer_blocks S")
    yield _row("auraflow", "", auraflow, pairs, h=3072, D=4, S=32)
    yield _row("krea2", "", (names.KREA2, recent.KREA2_DIFFUSERS, ends.KREA2_ENDS))
    yield _row("boogu", "", (recent.BOOGU,))
    yield _row("lens", "", (recent.LENS,), stacks, N=48)
    yield _row("joyimage", "", (recent.JOYIMAGE,))
    yield _row("minimax_h3", "", (names.MINIMAX_H3, recent.MINIMAX_H3_DIFFUSERS))
    for variant, h, count in (("video Lite", 1792, 32), ("image Lite", 2560, 50), ("Pro", 4096, 60)):
        kandinsky = (names.KANDINSKY5, ends.KANDINSKY5_ENDS)
        yield _row("kandinsky5", f"Kandinsky 5 {variant}", kandinsky, h=h, N=count)
    yield _row("pixeldit", "", (recent.PIXELDIT,), ("patch_blocks N",), N=14)
    for variant, h, f, count in (
        ("3B", 2560, 6912, 32),
        ("7B", 3072, 8192, 36),
        ("7B, plain", 3072, 12288, 36),
    ):
        yield _row("seedvr2", f"SeedVR2 {variant}", (recent.SEEDVR2,), ("blocks N",), h=h, f=f, N=count)
    row = _row("hidream_o1", "", (recent.HIDREAM_O1,))
    yield replace(row, proof=("embedder", "final_layer2", *_OF_A_MODEL))  # all else is Qwen 3 VL 8B
    yield _row("cascade_b", "", (recent.CASCADE_B,))


def _sound() -> Iterable[Row]:
    yield _row("ace_step", "ACE-Step 1", (names.ACE_STEP,))
    ace = (recent.ACE_STEP_15, recent.ACE_STEP_15_DIFFUSERS)
    for variant, h, f, q, count in (("", 2048, 6144, 2048, 24), (" XL", 2560, 9728, 4096, 32)):
        row = _row("ace_step", f"ACE-Step 1.5{variant}", ace, ("layers N",), h=h, f=f, q=q, N=count)
        # The other modules have the names and sizes of Qwen 3 1.7B's.
        yield replace(row, proof=("cross_attn", *_OF_A_MODEL))
    yield _row("minimax_music3", "", (recent.MINIMAX_MUSIC3, recent.MINIMAX_MUSIC3_DIFFUSERS))
    yield _row("stable_audio_3", "", (recent.STABLE_AUDIO_3, recent.STABLE_AUDIO_3_DIFFUSERS))
    stable_audio = (video.STABLE_AUDIO, video.STABLE_AUDIO_DIFFUSERS, ends.STABLE_AUDIO_ENDS)
    yield _row("stable_audio", "", stable_audio)


@functools.cache
def family_index() -> Index:
    """The index of the whole table, built on first use (a few milliseconds)."""
    rows = (*_stable_diffusion(), *_flux_like(), *_layered(), *_wan(), *_others(), *_sound())
    return Index(rows, last_resort=_last_resort())


@functools.cache
def family_blocks(family: str) -> tuple[Mapping[str, int], ...]:
    """The stacks of blocks of each size and naming of a family: `{"double_blocks": 19, "single_blocks": 38}`.

    Empty where the table doesn't say how many blocks the family has.
    """
    return tuple(
        {name.replace(".", "_"): count for name, count in stack}
        for row in family_index().rows
        if row.family == family
        for stack in row.stacks
    )
