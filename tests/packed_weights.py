"""A model whose weights are in memory as in GGUF packs: the parameter has bytes, which are unpacked when a layer runs.

This is what city96/ComfyUI-GGUF and packs based on it do. The parameter's `.shape` is that of the weight, but its
storage and the state dict have another size. A subclass of ModelPatcher attaches the patches to the parameter, and a
layer's `get_weight(parameter, dtype)` unpacks it and calls `comfy.lora.calculate_weight` every time the layer runs.
"""

from __future__ import annotations

from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch


class Packed(torch.Tensor):
    """int8 numbers and one fp32 scale for each row, as bytes (out, in + 4)."""

    stands_for: torch.Size
    patches: list[tuple[Any, str]]

    @classmethod
    def of(cls, weight: torch.Tensor) -> Packed:
        scale = weight.float().abs().amax(1, keepdim=True) / 127
        numbers = (weight.float() / scale).round().to(torch.int8)
        content = torch.cat([numbers.view(torch.uint8), scale.view(torch.uint8)], dim=1)
        return content.as_subclass(cls)._with(weight.shape, [])

    def _with(self, shape: torch.Size, patches: list[tuple[Any, str]]) -> Packed:
        self.stands_for, self.patches = shape, patches
        return self

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return self.__dict__.get("stands_for", self.size())

    def to(self, *arguments: Any, **options: Any) -> Any:
        return super().to(*arguments, **options)._with(self.stands_for, list(self.patches))

    def detach(self) -> Any:
        return self

    def clone(self, *_: Any, **__: Any) -> Any:
        return self

    def unpacked(self) -> torch.Tensor:
        content = self.as_subclass(torch.Tensor)
        numbers, scale = content[:, :-4].contiguous(), content[:, -4:].contiguous()
        return numbers.view(torch.int8).float() * scale.view(torch.float32)


class PackedLinear(comfy.ops.manual_cast.Linear):
    """Created only by `pack_linear_layers`."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = torch.empty(self.weight.size(), dtype=torch.uint8, device="meta")
        if self.bias is not None:
            destination[f"{prefix}bias"] = self.bias if keep_vars else self.bias.detach()

    def get_weight(self, packed: Packed, dtype: torch.dtype) -> torch.Tensor:
        weight = packed.unpacked().to(dtype)
        for patches, key in packed.patches:
            weight = comfy.lora.calculate_weight(_moved(patches, weight.device), weight, key)
        return weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        return torch.nn.functional.linear(inputs, self.get_weight(self.weight, inputs.dtype), bias)


def _moved(item: Any, device: torch.device) -> Any:
    if isinstance(item, torch.Tensor):
        return item.to(device)
    if isinstance(item, (tuple, list)):
        return type(item)(_moved(each, device) for each in item)
    return item


class PackedPatcher(comfy.model_patcher.ModelPatcher):
    """Attaches patches to packed weights. ComfyUI handles all others."""

    def patch_weight_to_device(self, key: str, device_to: Any = None, *arguments: Any, **options: Any) -> Any:
        weight = comfy.utils.get_attr(self.model, key)
        if not isinstance(weight, Packed):
            return super().patch_weight_to_device(key, device_to, *arguments, **options)
        if key in self.patches:
            weight.patches = [(self.patches[key], key)]
        return None

    def unpatch_model(self, device_to: Any = None, *arguments: Any, **options: Any) -> Any:
        for parameter in self.model.parameters():
            if isinstance(parameter, Packed):
                parameter.patches = []
        return super().unpatch_model(device_to, *arguments, **options)

    def clone(self, *arguments: Any, **options: Any) -> Any:
        own_class, self.__class__ = self.__class__, PackedPatcher
        try:
            return super().clone(*arguments, **options)
        finally:
            self.__class__ = own_class


def pack_linear_layers(model: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Converts a loaded MODEL, which is then no longer used, to one as a GGUF loader returns it.

    Also returns the packed weights as they are unpacked: name → fp32.
    """
    values = {}
    for name, module in model.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            packed = Packed.of(module.weight.detach())
            module.__class__ = PackedLinear
            module.weight = torch.nn.Parameter(packed, requires_grad=False)
            values[f"{name}.weight"] = packed.unpacked()
    return PackedPatcher.clone(model), values
