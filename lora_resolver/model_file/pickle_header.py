"""What a PyTorch checkpoint (.ckpt, .pt) holds: names and shapes of its tensors, without running anything in it.

    zip archive
    └── <name>/data.pkl    a pickle of {"state_dict": {name: tensor, …}, …}, or of the tensors alone

A pickle can call any function that it names. Here it finds none: tensors become their shapes, everything else a thing
that takes whatever it is given and does nothing. Written in Python alone, since the faster reader of the standard
library reserves as much memory as a pickle asks for.
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
"""Of `data.pkl`; that of SDXL has half a megabyte. A hostile one can cost fifty times its size in memory."""

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
    """Names and shapes of the tensors in the file, as a header. Offsets only tell how many bytes each has.

    :raises NotFound: there is no such file
    :raises StorageFailed: it cannot be read
    :raises VerificationFailed: it is no checkpoint that torch has written since 2020
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            parts = archive.infolist()
            data = next((part for part in parts[:_MAX_PARTS] if part.filename.endswith("data.pkl")), None)
            if data is None or data.file_size > MAX_PICKLE_BYTES:
                raise _broken("it holds no list of tensors")
            with archive.open(data) as file:
                content = file.read(MAX_PICKLE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", code="fileNotFound", remedy="Check the name.") from None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise StorageFailed(
            message, code="fileUnreadable", remedy="Check the file and its rights."
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError):
        raise _broken("it is no archive as torch writes it") from None
    if len(content) > MAX_PICKLE_BYTES:
        raise _broken("it holds no list of tensors")
    try:
        document = _Reader(io.BytesIO(content)).load()
    except Exception:  # whatever a damaged or hostile pickle does to its reader
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
        raise _broken("it holds no tensors")
    return found


class _Inert:
    """Stands for whatever a pickle names: can be made, called and filled, and keeps nothing."""

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
    """The kind of a tensor's numbers."""

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
        """What a name in the pickle stands for; never anything real."""
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
        f"not a PyTorch checkpoint: {why}", code="notAPickle", remedy="Download it again."
    )
