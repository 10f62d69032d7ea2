"""Downloads a file record to a verified file: resumed if possible, in several ranges at once, one download per file.

engine    the order of steps              partial   the temporary file and the record of its content
lock      one download per file           pieces    which range is fetched next
digest    SHA-256 while bytes arrive      answers   what a server's response to a range request means
flush     writes to disk while they do    verify    the conditions for placing a file
"""

from .digest import file_sha256
from .engine import download
from .lock import only_one
from .partial import clear_partial
from .request import DownloadRequest
from .verify import VerifiedFile

__all__ = ["DownloadRequest", "VerifiedFile", "clear_partial", "download", "file_sha256", "only_one"]
