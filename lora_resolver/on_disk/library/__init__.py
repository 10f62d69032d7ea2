"""The user's own files: found by name, by content, or by what other tools noted beside them.

library    what is asked of it                 scan       walks the folders, opens nothing
index      the SQLite file that remembers      sidecars   what other tools wrote, read into claims
"""

from .library import Library, LibraryFile, Owned

__all__ = ["Library", "LibraryFile", "Owned"]
