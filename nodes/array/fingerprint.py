"""What ComfyUI compares to decide whether a node with an array has to run again."""

from __future__ import annotations

from ...lora_resolver import LoraResolverError, format_lora_array
from ..server.settings import resolver_config
from .text import read_array


def array_fingerprint(text: str | None) -> str:
    """The canonical array, and for local names the file's size and time of change.

    A version at CivitAI never changes, so its file is not looked at. A text that cannot be parsed is its own
    fingerprint: the run itself will say what is wrong with it.
    """
    from ...lora_resolver import (
        Resolver,  # late: it needs an HTTP client, which no start of ComfyUI waits for
    )

    if text is None:
        return ""
    try:
        entries = read_array(text)
        local = [entry.identifier for entry in entries if entry.active and entry.identifier.source == "local"]
        resolver = Resolver(resolver_config()) if local else None
        marks = []
        for identifier in local:
            path = resolver.find_local(identifier) if resolver else None
            state = path.stat() if path is not None else None
            marks.append(
                f"{identifier} {state.st_size} {state.st_mtime_ns}" if state else f"{identifier} missing"
            )
        return "\n".join([format_lora_array(entries), *sorted(marks)])
    except LoraResolverError:
        return text
