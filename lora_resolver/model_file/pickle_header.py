"""Reads names and shapes of the tensors in a PyTorch checkpoint (.ckpt, .pt) without running any code in it.

    zip archive
    └── <name>/data.pkl    a pickle of {"state_dict": {name: tensor, …}, …}, or of the tensors alone

A pickle can call any function that it names. This reader provides none: tensors become their shapes, and everything
else becomes an object that accepts any arguments and does nothing. The reader is pure Python, because the standard
library's faster one allocates as much memory as a pickle requests.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from ..errors import NotFound, StorageFailed, VerificationFailed
from ..safe_files import open_regular
from .safetensors_header import SafetensorsHeader, TensorInfo

__all__ = ["read_pickle_header"]

MAX_PICKLE_BYTES = 4 * 1024**2
"""Largest `data.pkl`. SDXL's has half a megabyte. A hostile one can take fifty times its size in memory."""

MAX_TENSORS = 50_000
_MAX_PARTS = 200_000
_ELEMENT = {
    "DoubleStorage": ("F64", 8), "FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8), "IntStorage": ("I32", 4), "ShortStorage": ("I16", 2), "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1), "BoolStorage": ("BOOL", 1),
}  # fmt: skip
"""torch's legacy storage class → dtype as safetensors names it, and bytes of one element."""

_WRAPPERS = ("state_dict", "model", "module", "ema", "params")


def read_pickle_header(path: str | Path) -> SafetensorsHeader:
    """Names and shapes of the tensors in the file, as a header. Offsets only give the size of each tensor in bytes.

    :raises NotFound: there is no such file
    :raises StorageFailed: it cannot be read
    :raises VerificationFailed: it isn't a checkpoint in the format that torch has written since 2020
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            parts = archive.infolist()
            data = next((part for part in parts[:_MAX_PARTS] if part.filename.endswith("data.pkl")), None)
            if data is None or data.file_size > MAX_PICKLE_BYTES:
                raise _broken("it has no list of tensors")
            with archive.open(data) as file:
                content = file.read(MAX_PICKLE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"File not found: {path}", code="fileNotFound", remedy="Check the name.") from None
    except OSError as error:
        message = f"Could not read {path}: {error.strerror or error}"
        raise StorageFailed(
            message, code="fileUnreadable", remedy="Check the file and its permissions."
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError):
        raise _broken("it isn't an archive written by PyTorch") from None
    if len(content) > MAX_PICKLE_BYTES:
        raise _broken("it has no list of tensors")
    try:
        document = _Reader(io.BytesIO(content)).load()
    except Exception:  # a damaged or hostile pickle can cause any error in its reader
        raise _broken("its list of tensors is damaged") from None
    return SafetensorsHeader(_tensors(document), {}, 0, size)


def _tensors(document: object) -> dict[str, TensorInfo]:
    found: dict[str, TensorInfo] = {}
    wrapped = [document.get(key) for key in _WRAPPERS] if isinstance(document, dict) else []
    for content in (document, *wrapped):
        if isinstance(content, dict):
            for name, value in content.items():
                if isinstance(name, str) and isinstance(value, TensorInfo) and len(found) < MAX_TENSORS:
                    found.setdefault(name, value)
    if not found:
        raise _broken("it contains no tensors")
    return found


class _Inert:
    """Replaces anything that a pickle names. It can be created, called, and filled, but stores nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> _Inert:
        return self

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, *_: object) -> None:
        pass

    def append(self, _: object) -> None:
        """For lists of another class."""

    def extend(self, _: object) -> None:
        """For lists of another class."""


class _Storage:
    """The element type of a tensor."""

    def __init__(self, dtype: str, element_bytes: int) -> None:
        self.dtype = dtype
        self.element_bytes = element_bytes


def _rebuild_tensor(storage: object, _offset: object, shape: object, *_: object) -> object:
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or len(shape) > 32:
        return _Inert()
    if not all(isinstance(each, int) and 0 <= each < 2**40 for each in shape):
        return _Inert()
    count = storage.element_bytes
    for each in shape:
        count *= each
    return TensorInfo(storage.dtype, shape, 0, min(count, 2**60))


def _rebuild_parameter(tensor: object, *_: object) -> object:
    return tensor


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Reader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The replacement for a name in the pickle; never the real object."""
        if module == "torch" and name in _ELEMENT:
            return _Storage(*_ELEMENT[name])
        return _KNOWN.get((module, name), _Inert)

    def persistent_load(self, pid: Any) -> object:
        """("storage", class, key, place, number of elements)"""
        return (
            next((each for each in pid if isinstance(each, _Storage)), None)
            if isinstance(pid, tuple)
            else None
        )


def _broken(why: str) -> VerificationFailed:
    return VerificationFailed(
        f"Not a PyTorch checkpoint: {why}", code="notAPickle", remedy="Download it again."
    )
