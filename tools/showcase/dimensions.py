"""Sizes shared by the drawing code, the model, and the written files."""

from __future__ import annotations

SPRITE_SIDE = 48
"""Cells along each side of a sprite. A cell is one latent position."""

PIXELS_PER_CELL = 8
"""The VAE's scale factor: a sprite becomes a picture of 384×384 pixels."""

PICTURE_SIDE = SPRITE_SIDE * PIXELS_PER_CELL
"""Pixels along each side of a decoded picture."""

LATENT_CHANNELS = 16
"""Channels of an SD3 latent."""

LIVE_CHANNELS = 3
"""The latent channels that carry the picture: red, green, and blue. The others contain only noise."""

TEXT_WIDTH = 768
"""The width of CLIP-L's pooled text vector."""
