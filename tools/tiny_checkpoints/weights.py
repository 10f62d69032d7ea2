"""Random weights that take almost no space on disk, the same on every run.

A random matrix is stored as one line of numbers that its rows read at shifted positions (a Hankel matrix,
`w[i, j] = line[i + j]`). It has full rank and behaves like independent noise in a network, but a matrix of 1280×1280
takes only 5 KB. `torch.save` stores such views as views, so a checkpoint with complete CLIP text encoders (820 million
numbers) takes a few megabytes. `.safetensors` doesn't support views, so there the matrices are written in full.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Shapes = dict[str, tuple[int, ...]]
"""Full tensor name to shape, as `state_dict()` gives them."""

Gains = Sequence[tuple[str, float]]
"""(pattern to search in the name, gain). The first match applies; without a match, the gain is 1.

A matrix gets the standard deviation gain / sqrt(inputs), so gain 1 preserves the magnitude of its input.
A table (an embedding, or any name that does not end in `.weight`) gets the gain itself.
"""

_TABLE = re.compile(r"(token|position(al)?)_embedding(\.weight)?$")


def fill(shapes: Shapes, *, seed: int, dtype: torch.dtype, gains: Gains = ()) -> dict[str, torch.Tensor]:
    """Creates the weights for all names: norms 1, biases 0, the rest random, each seeded by `seed` and its name."""
    return {name: _tensor(name, shape, seed, dtype, gains) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype, gains: Gains) -> torch.Tensor:
    import torch

    if len(shape) == 1:
        constant = 0.0 if name.endswith("bias") else 1.0
        return torch.full((1,), constant, dtype=dtype).expand(shape)
    gain = next((value for pattern, value in gains if re.search(pattern, name)), 1.0)
    is_table = _TABLE.search(name) or not name.endswith("weight")
    inputs = math.prod(shape[1:])
    std = gain if is_table else gain / math.sqrt(inputs)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    line = torch.randn(shape[0] + inputs - 1, generator=generator).mul_(std).to(dtype)
    # (rows,) steps by 1, and (inputs,) has the strides of a contiguous tensor.
    strides = (1, *(math.prod(shape[axis + 1 :]) for axis in range(1, len(shape))))
    return line.as_strided(shape, strides)


def write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes `.safetensors`, or a torch file that loads with `weights_only=True`. An incomplete file is never left.

    The temporary file is in the same folder as the target, so that the last step is one atomic rename, and several
    processes can write the same checkpoint at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
            save_file(whole, temporary, metadata=dict(metadata or {}))
        else:
            import torch

            with temporary.open("wb") as stream:  # given a path, torch would store the temporary name inside
                torch.save({"state_dict": dict(tensors)}, stream)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
