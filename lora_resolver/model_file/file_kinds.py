"""Names the files that come in place of a .safetensors file, by their first bytes.

A login page saved as a model is the commonest of all; pickles, archives and previews follow.
"""

from __future__ import annotations

__all__ = ["kind_of_file"]

_LOGIN = "The service sent this in place of the file, often because it wants a token. Set its token, download again."
_NO_PICKLE = "Get the .safetensors file of this model; a pickle can run code, so it is never loaded."
_PREVIEW = "This is the preview, not the model. Get the .safetensors file."

_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype html", "a web page", _LOGIN),
    (b"<html", "a web page", _LOGIN),
    (b'{"error"', "an error message of the service", _LOGIN),
    (b'{"message"', "an error message of the service", _LOGIN),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file that it stands for",
        "Download the file itself.",
    ),
    (b"pk\x03\x04", "a zip archive or a PyTorch pickle (.ckpt, .pt)", _NO_PICKLE),
    (b"\x80\x02", "a PyTorch pickle (.ckpt, .pt)", _NO_PICKLE),
    (b"\x80\x04", "a PyTorch pickle (.ckpt, .pt)", _NO_PICKLE),
    (b"gguf", "a GGUF file", "Get the .safetensors file of this model."),
    (b"\x89png", "a PNG picture", _PREVIEW),
    (b"\xff\xd8\xff", "a JPEG picture", _PREVIEW),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it first."),
    (b"rar!", "a RAR archive", "Unpack it first."),
)  # begins in lower case; what the file is; what to do


def kind_of_file(first_bytes: bytes) -> tuple[str, str] | None:
    """What a file is that begins like this, with what to do about it; None where its kind is not known here."""
    begin = first_bytes[:512].lstrip().lower()
    for magic, kind, remedy in _KINDS:
        if begin.startswith(magic):
            return kind, remedy
    return None
