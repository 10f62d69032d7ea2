"""A store that several machines share, read before a LoRA's source is asked and filled after it: AIR_LORA_STORE.

files     its files, through fsspec, each call bounded in time
entry     what it says of a name, as JSON
store     find, fetch, keep; a store that is lost is no failure
"""

from .entry import Entry
from .files import StoreLost, StoreRefused
from .store import SharedStore, StoredFile

__all__ = ["Entry", "SharedStore", "StoreLost", "StoreRefused", "StoredFile"]
