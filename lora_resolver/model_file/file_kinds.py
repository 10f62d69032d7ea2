"""Recognizes files of other kinds that were saved as a .safetensors file, by their first bytes.

The most common one is a login page, followed by pickles, archives, and previews.
"""

from __future__ import annotations

__all__ = ["kind_of_file"]

_LOGIN = (
    "The service sent this instead of the file, often because it requires a token. "
    "Set the token, then download again."
)
_NO_PICKLE = "Get the .safetensors file of this model. A pickle can run code, so it's never loaded."
_PREVIEW = "This is the preview, not the model. Get the .safetensors file."

_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype html", "a web page", _LOGIN),
    (b"<html", "a web page", _LOGIN),
    (b'{"error"', "an error message from the service", _LOGIN),
    (b'{"message"', "an error message from the service", _LOGIN),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "Download the file itself.",
    ),
    (b"pk\x03\x04", "a zip archive or a PyTorch pickle (.ckpt, .pt)", _NO_PICKLE),
    (b"\x80\x02", "a PyTorch pickle (.ckpt, .pt)", _NO_PICKLE),
    (b"\x80\x04", "a PyTorch pickle (.ckpt, .pt)", _NO_PICKLE),
    (b"gguf", "a GGUF file", "Get the .safetensors file of this model."),
    (b"\x89png", "a PNG image", _PREVIEW),
    (b"\xff\xd8\xff", "a JPEG image", _PREVIEW),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it first."),
    (b"rar!", "a RAR archive", "Unpack it first."),
)  # first bytes in lower case; kind of file; what to do


def kind_of_file(first_bytes: bytes) -> tuple[str, str] | None:
    """(kind of file, what to do) for a file that begins like this; None for an unknown kind."""
    begin = first_bytes[:512].lstrip().lower()
    for magic, kind, remedy in _KINDS:
        if begin.startswith(magic):
            return kind, remedy
    return None
