"""The layout of Stable Diffusion's UNet, computed from a few numbers, in both of its namings.

Source: CompVis/stable-diffusion `openaimodel.py` (input_blocks, middle_block, output_blocks) and
diffusers `unet_2d_condition.py` (down_blocks, mid_block, up_blocks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cut_unet_layout", "unet_layouts", "unet_positional_layouts"]

_TRANSFORMER = """
{at}.proj_(in|out) {w} {w} {conv}
{at}.transformer_blocks.<{depth}>.attn1.to_(q|k|v|out) {w} {w}
{at}.transformer_blocks.<{depth}>.attn1.to_out.0 {w} {w}
{at}.transformer_blocks.<{depth}>.attn2.to_(q|out) {w} {w}
{at}.transformer_blocks.<{depth}>.attn2.to_out.0 {w} {w}
{at}.transformer_blocks.<{depth}>.attn2.to_(k|v) {context} {w}
{at}.transformer_blocks.<{depth}>.ff.net.0.proj {w} {w8}
{at}.transformer_blocks.<{depth}>.ff.net.2 {w4} {w}
{at}.transformer_blocks.<{depth}>.norm(1|2|3) - {w}
{at}.norm - {w}
"""
_RESNET_DIFFUSERS = """
{at}.conv1 {i} {o} *
{at}.conv2 {o} {o} *
{at}.time_emb_proj {t} {o}
{at}.conv_shortcut {i} {o} *
{at}.norm1 - {i}
{at}.norm2 - {o}
"""
_RESNET_ORIGINAL = """
{at}.in_layers.2 {i} {o} *
{at}.out_layers.3 {o} {o} *
{at}.emb_layers.1 {t} {o}
{at}.skip_connection {i} {o} *
{at}.in_layers.0 - {i}
{at}.out_layers.0 - {o}
"""


def unet_layouts(
    widths: Sequence[int], depths: Sequence[int], *, context: int, middle: int, linear: bool, added: int = 0
) -> tuple[Layout, Layout]:
    """A UNet in diffusers' names and in its original ones.

    `widths` and `depths` (transformer blocks in an attention, 0 for none) are by level, `context` is the text's width,
    `middle` the depth in the middle, `linear` the kind of proj_in and proj_out, `added` the width of added conditions.
    """
    base, time = widths[0], widths[0] * 4
    diffusers = [
        f"conv_in 4,8,9 {base} *",
        f"conv_out {base} 4 *",
        f"conv_norm_out - {base}",
        f"time_embedding.linear_1 {base} {time}",
        f"time_embedding.linear_2 {time} {time}",
    ]
    original = [
        f"input_blocks.0.0 4,8,9 {base} *",
        f"out.2 {base} 4 *",
        f"out.0 - {base}",
        f"time_embed.0 {base} {time}",
        f"time_embed.2 {time} {time}",
    ]
    if added:
        diffusers.append(f"(add_embedding|class_embedding).linear_1 {added} {time}")
        diffusers.append(f"(add_embedding|class_embedding).linear_2 {time} {time}")
        original += [f"label_emb.0.0 {added} {time}", f"label_emb.0.2 {time} {time}"]

    def transformer(at: str, width: int, depth: int) -> str:
        return _TRANSFORMER.format(
            at=at,
            w=width,
            w4=width * 4,
            w8=width * 8,
            depth=depth,
            context=context,
            conv="" if linear else "*",
        )

    skips, previous, block = [base], base, 1
    for level, (width, depth) in enumerate(zip(widths, depths)):
        for number in range(2):
            size = {"i": previous, "o": width, "t": time}
            diffusers.append(_RESNET_DIFFUSERS.format(at=f"down_blocks.{level}.resnets.{number}", **size))
            original.append(_RESNET_ORIGINAL.format(at=f"input_blocks.{block}.0", **size))
            if depth:
                diffusers.append(transformer(f"down_blocks.{level}.attentions.{number}", width, depth))
                original.append(transformer(f"input_blocks.{block}.1", width, depth))
            previous, block = width, block + 1
            skips.append(width)
        if level < len(widths) - 1:
            diffusers.append(f"down_blocks.{level}.downsamplers.0.conv {width} {width} *")
            original.append(f"input_blocks.{block}.0.op {width} {width} *")
            skips.append(width)
            block += 1

    size = {"i": previous, "o": previous, "t": time}
    diffusers += [_RESNET_DIFFUSERS.format(at=f"mid_block.resnets.{number}", **size) for number in (0, 1)]
    original += [_RESNET_ORIGINAL.format(at=f"middle_block.{number}", **size) for number in (0, 2)]
    if middle:
        diffusers.append(transformer("mid_block.attentions.0", previous, middle))
        original.append(transformer("middle_block.1", previous, middle))

    block = 0
    for level, (width, depth) in enumerate(zip(reversed(widths), reversed(depths))):
        for number in range(3):
            size = {"i": previous + skips.pop(), "o": width, "t": time}
            diffusers.append(_RESNET_DIFFUSERS.format(at=f"up_blocks.{level}.resnets.{number}", **size))
            original.append(_RESNET_ORIGINAL.format(at=f"output_blocks.{block}.0", **size))
            if depth:
                diffusers.append(transformer(f"up_blocks.{level}.attentions.{number}", width, depth))
                original.append(transformer(f"output_blocks.{block}.1", width, depth))
            if number == 2 and level < len(widths) - 1:
                diffusers.append(f"up_blocks.{level}.upsamplers.0.conv {width} {width} *")
                original.append(f"output_blocks.{block}.{2 if depth else 1}.conv {width} {width} *")
            previous, block = width, block + 1
    return Layout("\n".join(diffusers)), Layout("\n".join(original))


def unet_positional_layouts(widths: Sequence[int], *, context: int, attentions: int) -> tuple[Layout, Layout]:
    """The old formats that number the modules without naming them, so that only the sizes identify the model.

    cloneofsimo/lora writes `unet:12:down`, attentions and their feed-forwards in the order of the model (9 for each
    transformer block), and `text_encoder:3:down`, 4 for each layer; diffusers' AttnProcsLayers wrote
    `layers.12.to_q_lora.down.weight`, 2 for each block.
    """
    lines = []
    for width in widths:
        lines += [
            f"unet.<{attentions * 9}> {width},{context} {width}",
            f"unet.<{attentions * 9}> {width} {width * 8}",
            f"layers.<{attentions * 2}>.to_(q|out) {width} {width}",
            f"layers.<{attentions * 2}>.to_(k|v) {width},{context} {width}",
        ]
    encoder = f"positional.<128> {context} {context}"
    return Layout("\n".join(lines), dotted=True), Layout(encoder, "text_encoder")


def cut_unet_layout(*, context: int) -> Layout:
    """A UNet of any depth and width, of which only the text's width is compared: for pruned and tiny models."""
    lines = []
    for at in ("down_blocks.<9>.attentions.<9>", "up_blocks.<9>.attentions.<9>", "mid_block.attentions.0",
               "input_blocks.<20>.1", "output_blocks.<20>.1", "middle_block.1"):  # fmt: skip
        inner = f"{at}.transformer_blocks.<20>"
        lines += [
            f"{at}.(proj_in|proj_out|norm) - - *",
            f"{inner}.attn1.to_(q|k|v|out) - -",
            f"{inner}.attn2.to_(q|out) - -",
            f"{inner}.attn(1|2).to_out.0 - -",
            f"{inner}.attn2.to_(k|v) {context} -",
            f"{inner}.ff.net.(0.proj|2) - -",
            f"{inner}.norm(1|2|3) - -",
        ]
    for at in ("down_blocks.<9>.resnets.<9>", "up_blocks.<9>.resnets.<9>", "mid_block.resnets.<2>"):
        lines.append(f"{at}.(conv1|conv2|conv_shortcut|time_emb_proj|norm1|norm2) - - *")
    for at in ("input_blocks.<20>.0", "output_blocks.<20>.0", "middle_block.<3>"):
        lines.append(
            f"{at}.(in_layers.2|in_layers.0|out_layers.3|out_layers.0|emb_layers.1|skip_connection|op) - - *"
        )
    lines += [
        "(down_blocks.<9>.downsamplers.0|up_blocks.<9>.upsamplers.0).conv - - *",
        "output_blocks.<20>.(1|2).conv - - *",
        "(conv_in|conv_out|conv_norm_out|input_blocks.0.0|out.0|out.2) - - *",
        "(time_embedding|add_embedding).linear_(1|2) - -",
        "(time_embed|label_emb.0).(0|2) - -",
    ]
    return Layout("\n".join(lines))


def video_unet_layout() -> Layout:
    """Stable Video Diffusion's layers for time, in addition to SD 2.x's UNet, in diffusers' names and in its own.

    Source: diffusers' `UNetSpatioTemporalConditionModel`, ComfyUI `comfy/ldm/modules/diffusionmodules/openaimodel.py`.
    """
    any_width, four, eight = "320,640,1280", "1280,2560,5120", "2560,5120,10240"
    before = "320,640,960,1280,1920,2560"
    lines = []
    for at, stack, embedding in (
        ("mid_block.attentions.0", "temporal_transformer_blocks", ("linear_1", "linear_2")),
        ("(down|up)_blocks.<4>.attentions.<3>", "temporal_transformer_blocks", ("linear_1", "linear_2")),
        ("middle_block.1", "time_stack", ("0", "2")),
        ("(in|out)put_blocks.<12>.1", "time_stack", ("0", "2")),
    ):
        lines += [
            f"{at}.{stack}.0.attn(1|2).(to_q|to_out.0) {any_width} {any_width}",
            f"{at}.{stack}.0.attn(1|2).to_(k|v) {any_width},1024 {any_width}",
            f"{at}.{stack}.0.(ff|ff_in).net.0.proj {any_width} {eight}",
            f"{at}.{stack}.0.(ff|ff_in).net.2 {four} {any_width}",
            f"{at}.time_pos_embed.{embedding[0]} {any_width} {four}",
            f"{at}.time_pos_embed.{embedding[1]} {four} {any_width}",
        ]
    for at in ("mid_block.resnets.<2>", "(down|up)_blocks.<4>.resnets.<3>"):
        lines += [
            f"{at}.(spatial|temporal)_res_block.(conv1|conv2|conv_shortcut) {before} {any_width} *",
            f"{at}.(spatial|temporal)_res_block.time_emb_proj 1280 {any_width}",
        ]
    for at in ("middle_block.(0|2)", "(in|out)put_blocks.<12>.0"):
        lines += [
            f"{at}.time_stack.(in_layers.2|out_layers.3) {any_width} {any_width} *",
            f"{at}.time_stack.emb_layers.1 1280 {any_width}",
        ]
    return Layout("\n".join(lines))
