"""An error's facts for programs, in the one place of ComfyUI's `execution_error` that takes text: the message."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from ..lora_resolver import LoraResolverError, Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "air_lora: "
"""How the line begins; the rest of it is a JSON array with one object for each error."""


@contextlib.contextmanager
def facts_for_programs() -> Iterator[None]:
    """Adds a last line with the facts to an error about LoRAs that do not fit; other errors pass as they are."""
    try:
        yield
    except LoraResolverError as error:
        facts = [
            {"code": each.code, "parameter": each.parameter, **each.facts}
            for each in error.each()
            if isinstance(each, Mismatch) and each.facts
        ]
        if not facts:
            raise
        raise error.with_appendix(MARK + json.dumps(facts, ensure_ascii=False)) from error
