"""Checks that all numbers of a file's factors are finite. A single NaN or infinity makes every picture black."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ...lora_resolver import Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def check_finite(tensors: Mapping[str, torch.Tensor], names: Iterable[str]) -> None:
    """Raises Mismatch with code `notFinite` for the first of these tensors that contains NaN or infinity.

    The tensors are read completely, once for each file: patching reads them anyway. Checking the sum takes a tenth of
    the time of checking each number. If the sum isn't finite, which can also be an overflow, each number is checked.
    """
    for name in names:
        tensor = tensors.get(name)
        if tensor is None or not (tensor.is_floating_point() and tensor.numel()):
            continue
        if tensor.dtype.itemsize == 1:  # fp8 has no sum
            tensor = tensor.to(torch.float16)
        if not math.isfinite(tensor.sum(dtype=torch.float32).item()) and not _narrow(tensor).isfinite().all():
            kind = "NaN" if tensor.isnan().any() else "infinity"
            raise Mismatch(
                f"{name} contains {kind}, so the image would be black",
                code="notFinite",
                remedy="The training failed. Use a different epoch of the LoRA, or set on_mismatch to skip.",
            )


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the dtype in which it is multiplied: an fp64 number outside fp32's range becomes infinite."""
    return tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor
