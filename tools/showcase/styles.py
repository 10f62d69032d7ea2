"""Draws sprites from their layers, plain or in any mixture of the five styles at any strength.

The LoRAs are trained on its pictures: `render` with {"neon": 0.5} is what the neon LoRA at weight 0.5 should generate.
Shapes: B sprites in a batch, S = SPRITE_SIDE. All pictures are float32, 0 to 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from .dimensions import SPRITE_SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STYLES = ("sticker", "neon", "dissolve", "logo", "blueprint")

_SURFACE_STYLES = ("neon", "logo", "blueprint")
"""Styles that repaint the object itself. Every style repaints the background."""

_DISSOLVE_BACKDROP_IN_MIXES = 0.3
"""Factor for dissolve's background weight in mixes, because dissolve only fades the background."""

_GREY_RANGE = 0.15
"""A colour counts as grey if its largest and smallest channel differ by less than this."""

_STICKER_BORDER = 3.0
"""Width of the sticker's white border, in cells."""


class _Layers(NamedTuple):
    background: torch.Tensor  # (B, 3, S, S)
    object: torch.Tensor  # (B, 3, S, S)
    coverage: torch.Tensor  # (B, 1, S, S)
    outline: torch.Tensor  # (B, 1, S, S)


def render(
    layers: torch.Tensor, colours: torch.Tensor, strengths: Mapping[str, float], generator: torch.Generator
) -> torch.Tensor:
    """Returns pictures (B, 3, S, S) of sprites in the given styles. Without styles, they have the plain look.

    layers: (B, 8, S, S) uint8 and colours: (B, 3), as in SpriteSet. strengths: style to 0..1.
    generator: for the particles of "dissolve"; other styles don't use it.
    """
    strengths = {style: strength for style, strength in strengths.items() if strength}
    pixels = layers.float() / 255
    parts = _Layers(pixels[:, :3], pixels[:, 3:6], pixels[:, 6:7], pixels[:, 7:8])
    colours = colours[:, :, None, None]
    if "dissolve" in strengths:
        parts = _dissolved(parts, strengths["dissolve"], generator)
    background = _blend(parts.background, _backdrops(parts.background, strengths))
    surfaces = {style: strengths[style] for style in _SURFACE_STYLES if style in strengths}
    painted = _blend(
        parts.object, [(_surface(style, parts, colours), strength) for style, strength in surfaces.items()]
    )
    if "sticker" in strengths:
        background = _with_sticker_border(background, parts.coverage, strengths["sticker"])
    picture = parts.coverage * painted + (1 - parts.coverage) * background
    if "neon" in surfaces:
        share = surfaces["neon"] / max(1.0, sum(surfaces.values()))
        picture = picture + _glow(parts.outline) * _vivid(colours) * share
    return picture.clamp(0, 1)


def _blend(plain: torch.Tensor, looks: Sequence[tuple[torch.Tensor, float]]) -> torch.Tensor:
    """Mixes looks by their weights. If the weights sum to less than 1, the plain picture provides the rest."""
    if not looks:
        return plain
    total = max(1.0, sum(weight for _, weight in looks))
    mixed, plain_share = torch.zeros_like(plain), 1.0
    for look, weight in looks:
        mixed = mixed + look * (weight / total)
        plain_share -= weight / total
    return mixed + plain * plain_share


# ---- behind the object


def _backdrops(background: torch.Tensor, strengths: Mapping[str, float]) -> list[tuple[torch.Tensor, float]]:
    """The background of each style, with its weight."""
    return [
        (
            _backdrop(style, background),
            strength * (_DISSOLVE_BACKDROP_IN_MIXES if style == "dissolve" and len(strengths) > 1 else 1),
        )
        for style, strength in strengths.items()
    ]


def _backdrop(style: str, background: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S), or (1, 3, ...) if it is the same for every sprite."""
    if style == "sticker":
        return _rgb(0.80, 0.72, 0.95)
    if style == "neon":
        y = torch.linspace(0, 1, SPRITE_SIDE).view(1, 1, SPRITE_SIDE, 1)
        horizon_light = (1 - (y - 0.68).abs() * 4).clamp(0, 1)
        return _rgb(0.03, 0.015, 0.08) + _rgb(0.16, 0.0, 0.20) * horizon_light
    if style == "dissolve":
        return 0.5 * background + 0.5
    if style == "logo":
        return torch.ones_like(background)
    every_eighth = (torch.arange(SPRITE_SIDE) % 8 == 0).float()
    grid = (every_eighth.view(1, 1, 1, -1) + every_eighth.view(1, 1, -1, 1)).clamp(0, 1)
    return _rgb(0.05, 0.20, 0.50) + 0.13 * grid


def _with_sticker_border(background: torch.Tensor, coverage: torch.Tensor, strength: float) -> torch.Tensor:
    """A white border around the object, and its shadow to the lower left."""
    radius = _STICKER_BORDER * strength
    inner, outer = math.floor(radius), math.ceil(radius)
    border = _dilate(coverage, inner) if inner else coverage
    if outer > inner:
        border = border + (_dilate(coverage, outer) - border) * (radius - inner)
    shadow = functional.pad(border, (0, 2, 2, 0))[..., :SPRITE_SIDE, 2:]
    background = background * (1 - 0.35 * strength * shadow)
    return background * (1 - border) + border


# ---- the object


def _surface(style: str, parts: _Layers, colours: torch.Tensor) -> torch.Tensor:
    """The object (B, 3, S, S), painted in a surface style. colours: (B, 3, 1, 1)."""
    outline = parts.outline
    if style == "neon":
        vivid = _vivid(colours)
        return 0.12 * parts.object * vivid + 0.9 * vivid * outline + 0.35 * (outline**2)
    if style == "logo":
        grey = colours.amax(1, keepdim=True) - colours.amin(1, keepdim=True) < _GREY_RANGE
        ink = torch.where(grey, torch.full_like(colours, 0.08), colours * 0.85)
        cut = (outline * (parts.coverage > 0.99)).clamp(0, 1) * 0.95
        # Lines are cut only inside the shape. At its edge they would damage the silhouette.
        cut = torch.where(_blur(parts.coverage, 1.0) > 0.93, cut, torch.zeros_like(cut))
        return ink * (1 - cut) + cut
    return _rgb(0.10, 0.30, 0.62) * (1 - outline) + outline


def _glow(outline: torch.Tensor) -> torch.Tensor:
    """The light (B, 1, S, S) from neon outlines on everything around them."""
    return _blur(outline, 1.6) * 1.1 + _blur(outline, 3.5) * 0.8


def _vivid(colours: torch.Tensor) -> torch.Tensor:
    """Colours (B, 3, 1, 1) at full saturation. Greys become cyan."""
    largest, smallest = colours.amax(1, keepdim=True), colours.amin(1, keepdim=True)
    spread = largest - smallest
    saturated = ((colours - smallest) / (spread + 1e-3)).clamp(0, 1) * 0.9 + 0.1
    return torch.where(spread < _GREY_RANGE, _rgb(0.1, 0.95, 1.0).expand_as(saturated), saturated)


def _dissolved(parts: _Layers, strength: float, generator: torch.Generator) -> _Layers:
    """The object with its right side broken into 2×2 particles that drift to the right."""
    batch = len(parts.object)

    def noise() -> torch.Tensor:
        """(B, 1, S, S), uniform in 0 to 1, one number for each 2×2 block."""
        blocks = torch.rand(batch, 1, SPRITE_SIDE // 2, SPRITE_SIDE // 2, generator=generator)
        return blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)

    x = (
        torch.linspace(0, 1, SPRITE_SIDE)
        .view(1, 1, 1, SPRITE_SIDE)
        .expand(batch, 1, SPRITE_SIDE, SPRITE_SIDE)
    )
    ramp = ((x - 0.42) / 0.42).clamp(0, 1)  # 0 on the left, 1 at the far right
    kept = (noise() > strength * ramp * 0.95).float()
    shift_x = (noise() * 0.34 * SPRITE_SIDE * ramp).round().long() // 2 * 2
    shift_y = ((noise() - 0.62) * 0.34 * SPRITE_SIDE * ramp).round().long() // 2 * 2
    rows, columns = torch.meshgrid(torch.arange(SPRITE_SIDE), torch.arange(SPRITE_SIDE), indexing="ij")
    source_row = (rows[None, None] - shift_y).clamp(0, SPRITE_SIDE - 1)
    source_column = (columns[None, None] - shift_x).clamp(0, SPRITE_SIDE - 1)
    source = (source_row * SPRITE_SIDE + source_column).flatten(2)  # (B, 1, S·S)

    def drifted(layer: torch.Tensor) -> torch.Tensor:
        return layer.flatten(2).gather(2, source.expand(-1, layer.shape[1], -1)).view_as(layer)

    particles = ((noise() < 0.42 * strength) & (ramp > 0)).float() * (drifted(parts.coverage) > 0.5)
    left_standing = parts.coverage * kept
    return _Layers(
        background=parts.background,
        object=left_standing * parts.object + (1 - left_standing) * drifted(parts.object),
        coverage=torch.maximum(left_standing, particles),
        outline=torch.maximum(parts.outline * kept, particles * (1 - left_standing)),
    )


# ---- filters


def _rgb(red: float, green: float, blue: float) -> torch.Tensor:
    """A colour as (1, 3, 1, 1), to broadcast over pictures."""
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1)


def _dilate(mask: torch.Tensor, radius: int) -> torch.Tensor:
    """The largest value of a mask (B, 1, S, S) within a disc around each cell."""
    steps = torch.arange(-radius, radius + 1.0)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    disc = x * x + y * y <= radius * radius + 0.3
    padded = functional.pad(mask, (radius,) * 4)
    widest = mask
    for top, left in disc.nonzero().tolist():
        widest = torch.maximum(widest, padded[..., top : top + SPRITE_SIDE, left : left + SPRITE_SIDE])
    return widest


def _blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (B, C, S, S) with sigma in cells. The border is repeated outwards."""
    reach = int(sigma * 2.5) + 1
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    channels = image.shape[1]
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    down = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    image = functional.conv2d(
        functional.pad(image, (reach, reach, 0, 0), mode="replicate"), across, groups=channels
    )
    return functional.conv2d(
        functional.pad(image, (0, 0, reach, reach), mode="replicate"), down, groups=channels
    )
