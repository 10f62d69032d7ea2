"""What a sprite can show, and CLIP's token numbers for the corresponding words."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""

OBJECTS = ("supercar", "house", "tree", "rocket")
PLACES = ("city", "desert", "mountains", "sea", "forest")
TIMES = ("day", "sunset", "night")

COLOURS: dict[str, Colour] = {
    "red": (215, 30, 35),
    "orange": (245, 130, 20),
    "yellow": (250, 215, 30),
    "green": (40, 170, 70),
    "blue": (35, 90, 225),
    "purple": (130, 50, 200),
    "pink": (250, 110, 180),
    "white": (240, 240, 245),
    "black": (38, 38, 46),
}

TOKEN_IDS = {
    "supercar": 27021,
    "car": 1615,
    "house": 1212,
    "tree": 2677,
    "rocket": 8383,
    "red": 736,
    "orange": 4287,
    "yellow": 4481,
    "green": 1901,
    "blue": 1746,
    "purple": 5496,
    "pink": 3360,
    "white": 1579,
    "black": 1449,
    "day": 575,
    "night": 930,
    "sunset": 3424,
    "city": 1305,
    "desert": 7301,
    "mountains": 5873,
    "sea": 2102,
    "forest": 4167,
}
"""Words that are one token each in CLIP's vocabulary."""

FILLER_TOKEN_IDS = (
    320,  # a
    518,  # the
    539,  # of
    536,  # at
    530,  # in
    525,  # on
    593,  # with
    1844,  # style
    1125,  # photo
    794,  # art
    13241,  # pixel
    32544,  # sprite
    267,  # ,
)
"""Words that are common in prompts but say nothing about the picture."""
