"""Every error that this package raises on purpose.

    LoraResolverError
    ├── InvalidInput               the input isn't valid
    │   ├── InvalidLoraArray       the text isn't a valid `lora` array; `.errors` contains every error found
    │   └── InvalidIdentifier      the text doesn't identify a model
    ├── Unavailable                the identifier is valid, but its file isn't available
    │   ├── NotFound               nothing has this name, on disk or at the source
    │   ├── AccessDenied           a token, a purchase, or the creator's permission is missing
    │   ├── HostedOnly             its weights aren't public
    │   └── Offline                it isn't on disk, and offline mode is on
    ├── TransferFailed             the network or the server failed; a retry may succeed
    ├── VerificationFailed         the bytes aren't the expected ones, or the file isn't valid
    ├── StorageFailed              the disk is full or read-only, or another file is in the way
    ├── Mismatch                   the file is valid, but doesn't match the loaded model
    └── SeveralErrors              several entries failed; `.errors` contains each error

To handle all errors in the same way, catch `LoraResolverError`. Each leaf is an error that a caller may treat
differently.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_E = TypeVar("_E", bound="LoraResolverError")
_C = TypeVar("_C", bound="_Collected")

__all__ = [
    "AccessDenied",
    "HostedOnly",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidLoraArray",
    "LoraResolverError",
    "Mismatch",
    "NotFound",
    "Offline",
    "SeveralErrors",
    "StorageFailed",
    "TransferFailed",
    "Unavailable",
    "VerificationFailed",
    "one_or_several",
]


_ROW = re.compile(r"^lora\[(\d{1,9})\].*")

MOST_SHOWN = 20
"""The most errors that one message shows. It gives only the number of the others."""


class LoraResolverError(Exception):
    """An error that a user can act on.

    `code` is a stable camelCase word for programs. `parameter` is the place (`lora[1].weight`, or empty), `message`
    says what is wrong and includes the value, and `remedy` is a sentence that says what to do. `str()` joins these
    three, so the error can be shown as it is.
    """

    def __init__(self, message: str, *, code: str, parameter: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.parameter}: {self.message}" if self.parameter else self.message
        if text and not text.endswith((".", "?", "!", "…")):
            text = f"{text}."
        return f"{text} {self.remedy}" if self.remedy else text

    def each(self) -> tuple[LoraResolverError, ...]:
        """The single errors in this one: only itself, unless it collects several."""
        return (self,)

    def at(self: _E, parameter: str) -> _E:
        """The same error with this place, because lower layers don't know which entry they work for."""
        placed = self._copy()
        placed.parameter = parameter
        return placed

    def about(self: _E, name: str) -> _E:
        """The same error with a file's name in its message, because who reads a header doesn't know the file."""
        named = self._copy()
        named.message = f"{name}: {self.message}"
        return named

    def counted(self: _E) -> _E:
        """The same error for people who see rows, with a place such as "LoRA 2 (lora[1].weight)"."""
        counted = self._copy()
        counted.parameter = _ROW.sub(lambda row: f"LoRA {int(row[1]) + 1} ({row[0]})", self.parameter, 1)
        return counted

    def after(self: _E, warnings: Sequence[str]) -> _E:
        """The same error, with earlier warnings in its message."""
        if not warnings:
            return self
        extended = self._copy()
        extended.message = f"{self.message} (before that: {'; '.join(warnings)})"
        return extended

    def _copy(self: _E) -> _E:
        copy = type(self).__new__(type(self))
        copy.args = self.args
        copy.__dict__.update(self.__dict__)
        copy.__cause__, copy.__traceback__ = self.__cause__, self.__traceback__
        return copy

    def as_dict(self) -> dict[str, Any]:
        """The fields as the command line's `--json` and the node's error data show them."""
        return {
            "code": self.code,
            "parameter": self.parameter,
            "message": self.message,
            "remedy": self.remedy,
        }


class InvalidInput(LoraResolverError, ValueError):
    """The input isn't valid."""


class InvalidIdentifier(InvalidInput):
    """The text doesn't identify a model."""


class _Collected(LoraResolverError):
    """One error that collects several, and shows each on its own line."""

    errors: tuple[LoraResolverError, ...]

    def __init__(self, errors: Sequence[LoraResolverError]) -> None:
        first = errors[0]
        super().__init__(first.message, code=first.code, parameter=first.parameter, remedy=first.remedy)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[:MOST_SHOWN]]
        if len(self.errors) > MOST_SHOWN:
            lines.append(f"And {len(self.errors) - MOST_SHOWN:,} more.")
        return "\n".join(lines)

    def counted(self: _C) -> _C:
        counted = super().counted()
        counted.errors = tuple(error.counted() for error in self.errors)
        return counted

    def each(self) -> tuple[LoraResolverError, ...]:
        """The collected errors."""
        return self.errors


class InvalidLoraArray(_Collected, InvalidInput):
    """The text isn't a valid `lora` array. `.errors` contains every error found, in the order of the text."""


class SeveralErrors(_Collected):
    """Several entries of one array failed, each with its own error."""


def one_or_several(errors: Sequence[LoraResolverError]) -> LoraResolverError:
    """The only error, or one that collects them all."""
    return errors[0] if len(errors) == 1 else SeveralErrors(errors)


class Unavailable(LoraResolverError):
    """The identifier is valid, but its file isn't available."""


class NotFound(Unavailable):
    """Nothing has this name, on disk or at the source."""


class AccessDenied(Unavailable):
    """The source has the file but denies access: a token, a purchase, or the creator's permission is missing."""

    @property
    def needs_token(self) -> bool:
        """Whether a token, or a different token, would help."""
        return self.code in ("loginNeeded", "tokenRejected", "gated")


class HostedOnly(Unavailable):
    """The model runs only on its provider's servers. Its weights aren't public."""


class Offline(Unavailable):
    """The file isn't on disk, and offline mode is on."""


class TransferFailed(LoraResolverError):
    """The network or the server failed. Downloaded data is kept, and a retry may succeed."""


class VerificationFailed(LoraResolverError):
    """The bytes don't match what the source states, or aren't a valid safetensors file."""


class StorageFailed(LoraResolverError):
    """The disk is full or read-only, or another file is in the way."""


class Mismatch(LoraResolverError):
    """The file is valid, but doesn't match the loaded model.

    `facts` are the contents of the message as fields: `verdict` ("wrong family", "shape clash", "right family, will
    not load", …), `lora`, `made_for` and `loaded` (family IDs), `keys`, `keys_unmatched`, `shape_clashes`, and
    `example` with `key`, `in_file` and `here` (shapes, null where unknown). `facts` are empty where no file was
    compared with a model.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        parameter: str = "",
        remedy: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, code=code, parameter=parameter, remedy=remedy)
        self.facts: Mapping[str, Any] = facts or {}

    def as_dict(self) -> dict[str, Any]:
        """The fields of every error, and the facts."""
        return {**super().as_dict(), "facts": dict(self.facts)} if self.facts else super().as_dict()
