"""Are all numbers of a file's factors finite? One that is not turns every picture black."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ...lora_resolver import Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def check_finite(tensors: Mapping[str, torch.Tensor], names: Iterable[str]) -> None:
    """Raises Mismatch with code `notFinite` for the first of these tensors that holds NaN or infinity.

    They are read whole, once for each file: patching reads them in any case. A sum tells of a NaN among its numbers in
    a tenth of the time that looking at each takes; where the sum itself ran over, each is looked at.
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
                f"{name} holds {kind}: the picture would be black",
                code="notFinite",
                remedy="The training went wrong: use another epoch of it, or set on_mismatch to skip.",
            )


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    """As it is multiplied: what fp64 holds and fp32 does not is infinite there."""
    return tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor
