"""A store that several machines share, read before a LoRA's source and filled after downloads: AIR_LORA_STORE.

files     its files, through fsspec, with a time limit for each call
entry     its information about a name, as JSON
store     find, fetch, keep; an unreachable store isn't an error
"""

from .entry import Entry
from .files import StoreLost, StoreRefused
from .store import SharedStore, StoredFile

__all__ = ["Entry", "SharedStore", "StoreLost", "StoreRefused", "StoredFile"]
