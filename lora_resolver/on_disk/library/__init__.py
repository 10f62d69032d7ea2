"""The user's own files: found by name, by content, or by what other tools stored next to them.

library    the queries                           scan       walks the folders, doesn't open files
index      the SQLite file that stores results   sidecars   reads the files of other tools into claims
"""

from .library import Library, LibraryFile, Owned

__all__ = ["Library", "LibraryFile", "Owned"]
