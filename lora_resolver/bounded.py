"""What comes from outside as text (a header, a record, an answer, a setting), read within bounds.

Nothing is planned or allocated by a number that did not pass through here or through a header's own checks.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MOST_BYTES", "parse_json", "whole_number"]

MOST_BYTES = 1 << 50
"""More bytes than any file has (a petabyte)."""

_MOST_PARTS = 400_000  # an answer with a hundred models has some thousand
_PARTS = (b",", b"[", b"{")


def whole_number(text: str, most: int = MOST_BYTES, *, least: int = 0) -> int | None:
    """The number that plain digits say; None for anything else, or where it is out of bounds.

    `²` and `٣` are digits to `str.isdigit` and to `int`, and five thousand digits are a number.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(most)) + 3:
        return None
    number = int(text)
    return number if least <= number <= most else None


def parse_json(content: bytes | str) -> Any:
    """What a JSON text says. Raises ValueError for what is no JSON, or would take far more memory than its length.

    Halves of surrogate pairs, which no text may have, come out as `?`.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if len(data) > _MOST_PARTS and sum(map(data.count, _PARTS)) > _MOST_PARTS:
        raise ValueError("it has too many parts")
    try:
        value = json.loads(data)
        if b"\\ud" in data or b"\\uD" in data:
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error
    return value
