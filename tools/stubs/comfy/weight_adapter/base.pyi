from collections.abc import Sequence
from typing import Any

import torch

class WeightAdapterBase:
    name: str
    loaded_keys: set[str]
    weights: Any

def pad_tensor_to_shape(tensor: torch.Tensor, new_shape: Sequence[int]) -> torch.Tensor: ...
