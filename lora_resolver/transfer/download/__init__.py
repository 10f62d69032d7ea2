"""A file record becomes a verified file: resumed where it can be, in several ranges at once, one download per file.

engine    the order of events            partial   the temporary file and the record of what is in it
lock      one download per file          pieces    which range is whose turn
digest    SHA-256 while bytes arrive     answers   what a server's answer to a range request means
flush     to the disk, likewise          verify    what a file must be to be placed
"""

from .digest import file_sha256
from .engine import download
from .lock import only_one
from .partial import clear_partial
from .request import DownloadRequest
from .verify import VerifiedFile

__all__ = ["DownloadRequest", "VerifiedFile", "clear_partial", "download", "file_sha256", "only_one"]
