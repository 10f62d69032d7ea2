"""Reads an argument: a file, standard input, or the text itself."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..array.lenient_json import MAX_CHARACTERS
from ..errors import InvalidInput
from ..safe_files import open_regular
from ..text import quoted
from ..workflows.named_loras import NamedLoras, loras_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["named_in", "open_argument"]

_FILE_ENDINGS = (
    *(".json", ".jsonc", ".json5", ".txt"),
    *(".png", ".webp", ".flac", ".mp4", ".latent"),  # files in which ComfyUI saves workflows
)


def named_in(argument: str, local_names: Callable[[], Sequence[str]] | None = None) -> NamedLoras:
    """The LoRAs in an argument. Problems with it are in the errors.

    `local_names` returns the files in the LoRA folders. It is called if a name omits the folder. The default is the
    files in this user's folders.
    """
    try:
        with open_argument(argument) as content:
            typed = isinstance(content, str)
            name = "" if typed else "standard input" if argument == "-" else argument
            return loras_in(content, name, local_names or _names_of_user)
    except InvalidInput as error:
        return NamedLoras((), (error,))


def _names_of_user() -> Sequence[str]:
    from ..settings.settings_file import user_config
    from ..sources.local import list_names

    return sorted(set(list_names(user_config().search_dirs)))


@contextmanager
def open_argument(argument: str) -> Iterator[str | BinaryIO]:
    """The text itself, or the file with that name (`-`: standard input), opened for reading.

    Raises InvalidInput for a file that doesn't exist or can't be read.
    """
    if argument == "-":
        yield io.BytesIO(sys.stdin.buffer.read(MAX_CHARACTERS + 1))
        return
    path = _path(argument)
    if path is None:
        yield argument
        return
    try:
        with open_regular(path) as file:
            yield file
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _unreadable(
            f"{quoted(argument)} can't be read: {reason}", "Specify a file that you have permission to read."
        ) from None


def _path(argument: str) -> Path | None:
    if not argument.strip() or argument.lstrip().startswith(("[", "{", '"', "/*", "//")):
        return None
    path = Path(argument)
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # too long for a file name, or contains a NUL
        is_there = False
    if not is_there and argument.lower().endswith(_FILE_ENDINGS):
        raise _unreadable(f"No file {quoted(argument)}", "Check the file name and folder.")
    return path if is_there else None


def _unreadable(message: str, remedy: str) -> InvalidInput:
    return InvalidInput(message, code="unreadableInput", remedy=remedy)
