"""Every error that this package raises on purpose.

    LoraResolverError
    ├── InvalidInput               what was typed does not say what it must
    │   ├── InvalidLoraArray       the text is no `lora` array; `.errors` holds every fault found
    │   └── InvalidIdentifier      the text names no model
    ├── Unavailable                the name is right, but its file cannot be had
    │   ├── NotFound               nothing has this name, here or at the source
    │   ├── AccessDenied           a token, a purchase or the creator's leave is missing
    │   ├── HostedOnly             its weights are not public
    │   └── Offline                it is not on disk and the network may not be used
    ├── TransferFailed             the network or the server failed; another try may do
    ├── VerificationFailed         the bytes are not what was expected, or no LoRA at all
    ├── StorageFailed              the disk is full, read-only or in the way
    ├── Mismatch                   the file is sound, but does not fit the loaded model
    └── SeveralErrors              several entries failed; `.errors` holds each

Callers that want one answer catch `LoraResolverError`; each leaf is something that a caller would treat differently.
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
"""Errors that one message shows; the rest are counted."""


class LoraResolverError(Exception):
    """Something that a user can act on.

    `code` is a stable camelCase word for programs, `parameter` the place (`lora[1].weight`, empty where there is
    none), `message` what is wrong with the value in it, `remedy` a sentence that says what to do.
    `str()` joins the three, so the error can be shown as it is.
    """

    def __init__(self, message: str, *, code: str, parameter: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.parameter}: {self.message}" if self.parameter else self.message
        if not self.remedy:
            return text
        return f"{text} {self.remedy}" if text.endswith((".", "?", "!")) else f"{text}. {self.remedy}"

    def each(self) -> tuple[LoraResolverError, ...]:
        """The errors that this one stands for: itself, unless it was collected from several."""
        return (self,)

    def at(self: _E, parameter: str) -> _E:
        """The same error, placed: low layers need not know which entry they work for."""
        placed = self._copy()
        placed.parameter = parameter
        return placed

    def counted(self: _E) -> _E:
        """The same error, for people who see rows: "LoRA 2 (lora[1].weight)" is its place."""
        counted = self._copy()
        counted.parameter = _ROW.sub(lambda row: f"LoRA {int(row[1]) + 1} ({row[0]})", self.parameter, 1)
        return counted

    def after(self: _E, warnings: Sequence[str]) -> _E:
        """The same error, with what went wrong before it and did no harm until now."""
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
    """What was typed does not say what it must."""


class InvalidIdentifier(InvalidInput):
    """The text names no model."""


class _Collected(LoraResolverError):
    """One error that stands for several; shown as their lines."""

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
        """The errors that this one stands for."""
        return self.errors


class InvalidLoraArray(_Collected, InvalidInput):
    """The text is no `lora` array. `.errors` holds every fault found, in the order of the text."""


class SeveralErrors(_Collected):
    """Several entries of one array failed, each in its own way."""


def one_or_several(errors: Sequence[LoraResolverError]) -> LoraResolverError:
    """The one error, or one that stands for all."""
    return errors[0] if len(errors) == 1 else SeveralErrors(errors)


class Unavailable(LoraResolverError):
    """The name is right, but its file cannot be had."""


class NotFound(Unavailable):
    """Nothing has this name, neither on disk nor at the source."""


class AccessDenied(Unavailable):
    """The source has the file and keeps it: a token, a purchase or the creator's leave is missing."""

    @property
    def needs_token(self) -> bool:
        """Whether a token, or another one, would help."""
        return self.code in ("loginNeeded", "tokenRejected", "gated")


class HostedOnly(Unavailable):
    """The model can be used on its provider's servers alone; its weights are not public."""


class Offline(Unavailable):
    """The file is not on disk and the network may not be used."""


class TransferFailed(LoraResolverError):
    """The network or the server failed. What arrived is kept, and another try may do."""


class VerificationFailed(LoraResolverError):
    """The bytes are not what the source says, or are no safetensors file that can be believed."""


class StorageFailed(LoraResolverError):
    """The disk is full, read-only, or something else is in the way."""


class Mismatch(LoraResolverError):
    """The file is sound, but does not fit the loaded model.

    `facts` are what the sentence says, in fields: `verdict` ("wrong family", "shape clash", "right family, will not
    load", …), `lora`, `made_for` and `loaded` (family ids), `keys`, `keys_unmatched`, `shape_clashes`, and `example`
    with `key`, `in_file` and `here` (shapes, null where unknown). Empty where no file was held against a model.
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
