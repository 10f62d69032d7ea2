"""Sorts a file's tensors by module, and converts each module's tensors to ComfyUI's adapter classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from ...lora_resolver import Mismatch, plain_name, split_name
from .kinds import ADAPTERS, MAGNITUDES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...lora_resolver import MetadataAlphas

_LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
_LOKR = ("lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b")
_GLORA = ("a1", "a2", "b1", "b2")
_MATRIX, _PICTURE = 2, 4
"""Dimensions of a matrix, and of a convolution's weight over pictures."""
_DIFFERENCES = (("diff", "diff"), ("w_norm", "diff"), ("set_weight", "set"))
_BIAS_DIFFERENCES = ("diff_b", "b_norm")
_TRIMMINGS = {"alpha", "dora_scale"}
# Kinds for which neither ComfyUI nor this pack has a formula.
_UNKNOWN_KINDS = ("oft_diag", "oft_R", "boft_R", "ia3")
_REMEDY = "Download or train the LoRA again, or set on_mismatch to skip."

ALONE = "belongs to factors that the file doesn't have"
KIND_UNKNOWN = "is of an unsupported adapter type"
BIAS_OF_DOWN = "is a bias of the first factor, which no loader applies"
NO_FORMULA = "is a factor that ComfyUI doesn't use for this adapter type"
NO_BIAS = "is for a bias that the loaded model doesn't have"
NO_WEIGHT = "matches no weight of the loaded model"
SECOND_EXPERT = (
    "is for the second of two experts (transformer_2, Wan 2.2's low-noise model): save it as a separate file"
)
TWICE = "is for a weight that other tensors in the file change in the same way"
NO_ADAPTER = "isn't part of an adapter"
EMBEDDING = "is an embedding: also copy the file to the embeddings folder, and use its name in the prompt"
MARK = "is a format marker"
_MARKS = ("scaled_fp8", "comfy_quant", "input_scale", "output_scale")


@dataclass(frozen=True)
class Module:
    """The tensors of one module."""

    stem: str
    tensors: dict[str, tuple[str, torch.Tensor]] = field(default_factory=dict)
    """Role → the tensor's name in the file, and the tensor."""


@dataclass
class Changes:
    """How a module changes its weight and its bias, and which of its tensors aren't used."""

    weight: list[Any] = field(default_factory=list)
    """ComfyUI's adapters, or its tuples ("diff" | "set", (tensor,))."""
    bias: list[Any] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    used_by_bias: set[str] = field(default_factory=set)
    unused: dict[str, str] = field(default_factory=dict)
    """Name → reason."""


def sort_into_modules(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, Module], dict[str, str]]:
    """The modules by their name in the file, and the tensors that aren't part of an adapter, with the reason."""
    modules: dict[str, Module] = {}
    others: dict[str, str] = {}
    adapters_of: dict[str, str] = {}
    for name, tensor in tensors.items():
        stem, role = split_name(name)
        if not role:
            others[name] = _reason(name)
            continue
        module = modules.get(stem)
        if module is None:
            module = modules[stem] = Module(stem)
        adapter = _adapter_name(name, stem)
        if role in module.tensors or (adapter and adapters_of.setdefault(stem, adapter) != adapter):
            others[name] = TWICE  # factors of two different adapters must not be combined
        else:
            module.tensors[role] = (name, tensor)
    _join_trimmings(modules)
    return modules, others


def _adapter_name(name: str, stem: str) -> str | None:
    """peft's name for the adapter, if the file has one: `my_style` in `….lora_A.my_style.weight`."""
    parts = name[len(stem) :].split(".")
    is_named = len(parts) > 3 and parts[1].startswith(
        ("lora_A", "lora_B", "lora_magnitude", "hada_", "lokr_")
    )
    return parts[2] if is_named else None


def _join_trimmings(modules: dict[str, Module]) -> None:
    """Moves alphas and magnitudes to the module of their factors if its name is spelled differently."""
    alone = [stem for stem, module in modules.items() if module.tensors.keys() <= _TRIMMINGS]
    if not alone or len(alone) == len(modules):
        return
    by_place = {plain_name(stem): module for stem, module in modules.items() if stem not in set(alone)}
    for stem in alone:
        home = by_place.get(plain_name(stem))
        if home is not None and home.tensors.keys().isdisjoint(modules[stem].tensors):
            home.tensors.update(modules.pop(stem).tensors)


def _reason(name: str) -> str:
    if name.startswith("bundle_emb."):
        return EMBEDDING
    return MARK if name.rpartition(".")[2] in _MARKS else NO_ADAPTER


def changes_of(module: Module, alphas: MetadataAlphas, *, has_values: bool = True) -> Changes:
    """The changes that the module's tensors make. `has_values` is False for an outline, whose tensors contain ones.

    Raises Mismatch with code `incompleteModule` if a factor is missing, `badFactor` if a factor is empty or has too few
    dimensions, `badAlpha` if an alpha isn't a single finite number, `shapeClash` if the factors don't match one another
    or widen the weight to another shape than their own, and `unsupportedAlphaPattern`.
    """
    changes = Changes()
    reader = _Reader(module, alphas, changes, has_values)
    reader.read()
    for name, _tensor in module.tensors.values():
        if name not in changes.used and name not in changes.used_by_bias:
            changes.unused.setdefault(name, ALONE)
    return changes


class _Reader:
    def __init__(self, module: Module, alphas: MetadataAlphas, changes: Changes, has_values: bool) -> None:
        self.module, self.alphas, self.changes, self.has_values = module, alphas, changes, has_values

    def read(self) -> None:
        tensors = self.module.tensors
        if any(role in tensors for role in _UNKNOWN_KINDS) or any(
            role.startswith("oft_blocks.") for role in tensors
        ):
            self.changes.unused = {name: KIND_UNKNOWN for name, _ in tensors.values()}
            return
        if any(role in tensors for role in ("up", "down", "mid", "up bias", "reshape_weight")):
            self._lora()
        if any(role.startswith("hada_") for role in tensors):
            self._loha()
        if any(role.startswith("lokr_") for role in tensors):
            self._lokr()
        if "oft_blocks" in tensors:
            self._oft()
        if any(role in tensors for role in _GLORA):
            self._glora()
        for role, kind in _DIFFERENCES:
            if role in tensors:
                self.changes.weight.append((kind, (self._factor(role, dimensions=1),)))
        for role in _BIAS_DIFFERENCES:
            if role in tensors:
                before = set(self.changes.used)
                self.changes.bias.append(("diff", (self._factor(role, dimensions=1),)))
                self.changes.used_by_bias |= self.changes.used - before
                self.changes.used = before
        if "dora_scale" in tensors and tensors["dora_scale"][0] not in self.changes.used:
            self._incomplete("factors")
        if "down bias" in tensors:
            self.changes.unused[tensors["down bias"][0]] = BIAS_OF_DOWN

    # ---- kinds

    def _lora(self) -> None:
        up, down, mid = self._factor("up"), self._factor("down"), self._optional("mid")
        alpha = self._alpha(down.shape[0])
        if mid is not None:
            down, mid = self._with_core(up, mid, down)
        elif up.shape[1] != down.shape[0]:
            self._differ("the ranks of its factors", up, down)
        reshape = self._reshape(up, down)
        self._adapter("lora", (up, down, alpha, mid, self._dora_scale(), reshape))
        bias = self.module.tensors.get("up bias")
        if bias is not None:
            scale = alpha / down.shape[0] if alpha is not None else 1.0
            self.changes.bias.append(("diff", (bias[1].to(torch.float32) * scale,)))
            self.changes.used_by_bias.add(bias[0])

    def _with_core(
        self, up: torch.Tensor, mid: torch.Tensor, down: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The second factor and the Tucker core.

        ComfyUI supports cores of 2-D convolutions. Other cores are multiplied into the factor here.
        """
        if mid.dim() <= _MATRIX or mid.shape[0] != up.shape[1] or mid.shape[1] != down.shape[0]:
            self._differ("the sizes of its core and its factors", up, mid, down)
        if mid.dim() == _PICTURE:
            return down, mid
        return torch.einsum("o j ..., j i -> o i ...", mid.float(), down.flatten(1).float()), None

    def _loha(self) -> None:
        first, second, third, fourth = (self._factor(role) for role in _LOHA)
        t1, t2 = self._optional("hada_t1"), self._optional("hada_t2")
        if (t1 is None) != (t2 is None):
            self._incomplete("hada_t1" if t1 is None else "hada_t2")
        for a, b, core in ((first, second, t1), (third, fourth, t2)):
            if core is None and a.shape[1] != b.shape[0]:
                self._differ("the ranks of its factors", a, b)
            if core is not None and core.dim() != _PICTURE:
                role = "hada_t1" if core is t1 else "hada_t2"
                self._bad_factor(
                    role, f"has {core.dim()} dimensions, but ComfyUI only supports LoHa cores with four"
                )
            if core is not None and core.shape[:2] != (a.shape[0], b.shape[0]):
                self._differ("the sizes of its core and its factors", a, core, b)
        alpha = self._alpha(second.shape[0])
        self._adapter("loha", (first, second, alpha, third, fourth, t1, t2, self._dora_scale()))

    def _lokr(self) -> None:
        found: dict[str, Any] = dict.fromkeys(_LOKR)
        ranks = []
        for whole in ("lokr_w1", "lokr_w2"):
            if whole in self.module.tensors:
                found[whole] = self._factor(whole)
                continue
            if f"{whole}_a" not in self.module.tensors and f"{whole}_b" not in self.module.tensors:
                self._incomplete(whole)
            a, b = (self._factor(whole + half) for half in ("_a", "_b"))
            core = self._optional("lokr_t2") if whole == "lokr_w2" else None
            if core is None and a.shape[1] != b.shape[0]:
                self._differ("the ranks of its factors", a, b)
            if core is not None and (core.dim() <= _MATRIX or core.shape[:2] != (a.shape[0], b.shape[0])):
                self._differ("the sizes of its core and its factors", a, core, b)
            found[f"{whole}_a"], found[f"{whole}_b"], found["core"] = a, b, core
            ranks.append(b.shape[0])
        w1, w2 = found["lokr_w1"], found["lokr_w2"]
        if w2 is not None and w2.dim() > _MATRIX:
            # The Kronecker product has the same numbers in the same order, and ComfyUI supports it for every kernel.
            w2 = w2.flatten(1)
        # Alpha has no effect on two whole matrices: trainers write 9999999999 for "full", which is infinity in fp16.
        alpha = None
        if ranks:
            alpha = self._alpha(ranks[-1])
        else:
            self._needless("alpha")
        parts = (found[role] for role in _LOKR[2:])
        self._adapter("lokr", (w1, w2, alpha, *parts, found.get("core"), self._dora_scale()))

    def _oft(self) -> None:
        blocks = self._factor("oft_blocks", dimensions=3)
        if blocks.dim() > 4 or blocks.shape[-1] != blocks.shape[-2]:
            self._bad_factor(
                "oft_blocks", f"has the shape {_by(blocks.shape)}, but its blocks must be square"
            )
        alpha = self._alpha(None)
        rescale = None
        if blocks.dim() == _PICTURE:
            stages, count, size = blocks.shape[:3]
            rescale = self._optional("rescale", dimensions=1)
            if size % 2 or count * size % (2 ** min(stages, 60) * (size // 2)):
                self._bad_factor("oft_blocks", f"has {stages} stages, but {count * size} outputs allow fewer")
            if rescale is not None and rescale.numel() != count * size:
                self._differ("the sizes of its blocks and its scale", blocks, rescale)
        elif "rescale" in self.module.tensors:
            self.changes.unused[self.module.tensors["rescale"][0]] = NO_FORMULA
        kind = "oft" if blocks.dim() < _PICTURE else "boft"
        self._adapter(kind, (blocks, rescale, alpha, self._dora_scale()))

    def _glora(self) -> None:
        a1, a2, b1, b2 = (self._factor(role) for role in _GLORA)
        self._adapter("glora", (a1, a2, b1, b2, self._alpha(min(a1.shape[:2])), self._dora_scale()))

    def _adapter(self, kind: str, weights: tuple[Any, ...]) -> None:
        self.changes.weight.append(ADAPTERS[kind](set(self.changes.used), weights))

    # ---- tensors

    def _factor(self, role: str, *, dimensions: int = 2) -> torch.Tensor:
        found = self.module.tensors.get(role)
        if found is None:
            self._incomplete(role)
        name, tensor = found
        if tensor.dim() < dimensions:
            self._bad_factor(
                role, f"is {tensor.dim()}-dimensional, but must be at least {dimensions}-dimensional"
            )
        if not tensor.numel():
            self._bad_factor(role, f"is empty: its shape is {_by(tensor.shape)} (rank 0)")
        self.changes.used.add(name)
        scale = self.module.tensors.get(f"{role} scale")
        if scale is None and not tensor.is_floating_point():
            self._bad_factor(role, f"contains integers ({tensor.dtype}), but the file has no scale for them")
        if scale is not None:
            self.changes.used.add(scale[0])
            if self.has_values:  # the fp8 numbers are divided by the scale
                tensor = tensor.to(torch.float32) * self._scale_of(role, tensor, scale[1])
        return tensor

    def _scale_of(self, role: str, tensor: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The scale, as one number or as one number for each row."""
        if scale.numel() == 1:
            return scale.to(torch.float32).reshape(())
        if scale.numel() != tensor.shape[0]:
            self._differ(f"the sizes of {role} and its scale", tensor, scale)
        return scale.to(torch.float32).reshape(-1, *[1] * (tensor.dim() - 1))

    def _optional(self, role: str, *, dimensions: int = 2) -> torch.Tensor | None:
        return self._factor(role, dimensions=dimensions) if role in self.module.tensors else None

    def _alpha(self, rank: int | None) -> float | None:
        """Alpha, from its tensor or the metadata. OFT's is a constraint, not a scale, and is never in the metadata."""
        found = self.module.tensors.get("alpha")
        if found is None:
            return self.alphas.alpha_of(self.module.stem, rank) if rank else None
        name, tensor = found
        self.changes.used.add(name)
        if tensor.numel() != 1:
            self._bad_alpha(name, f"holds {tensor.numel()} numbers")
        alpha = float(tensor.reshape(()).item())
        if not math.isfinite(alpha):
            self._bad_alpha(name, f"is {alpha}")
        return alpha

    def _needless(self, role: str) -> None:
        """Marks a tensor as used if it belongs to this kind of adapter but has no effect here."""
        if role in self.module.tensors:
            self.changes.used.add(self.module.tensors[role][0])

    def _dora_scale(self) -> torch.Tensor | None:
        """The magnitudes as in the file, but peft's for a convolution, (1, out, 1, 1), as (out,).

        See `fitted_magnitudes`.
        """
        found = self.module.tensors.get("dora_scale")
        if found is None:
            return None
        tensor = self._factor("dora_scale", dimensions=0)
        return tensor.reshape(-1) if "lora_magnitude_vector" in found[0] else tensor

    def _reshape(self, up: torch.Tensor, down: torch.Tensor) -> list[int] | None:
        """The shape that the weight is padded to first: always that of the factors."""
        found = self.module.tensors.get("reshape_weight")
        if found is None:
            return None
        name, tensor = found
        self.changes.used.add(name)
        given = [up.shape[0], *down.shape[1:]]
        if self.has_values and tensor.flatten().tolist()[:9] != given:
            raise Mismatch(
                f"{name} widens the weight to a different shape than its factors have ({_by(given)})",
                code="shapeClash",
                remedy=_REMEDY,
            )
        return given

    # ---- errors

    def _incomplete(self, role: str) -> NoReturn:
        there = next(iter(self.module.tensors.values()))[0]
        raise Mismatch(
            f"The module {self.module.stem} is incomplete: it has {there}, but no {role}",
            code="incompleteModule",
            remedy=_REMEDY,
        )

    def _differ(self, what: str, *tensors: torch.Tensor) -> NoReturn:
        shapes = ", ".join(_by(tensor.shape) for tensor in tensors)
        raise Mismatch(
            f"In the module {self.module.stem}, {what} don't match ({shapes})",
            code="shapeClash",
            remedy=_REMEDY,
        )

    def _bad_factor(self, role: str, what: str) -> NoReturn:
        raise Mismatch(f"{self.module.tensors[role][0]} {what}", code="badFactor", remedy=_REMEDY)

    def _bad_alpha(self, name: str, what: str) -> NoReturn:
        raise Mismatch(
            f"The alpha {name} {what}, not a single finite number", code="badAlpha", remedy=_REMEDY
        )


def fitted_magnitudes(value: Any, stem: str, shape: Sequence[int], function: Any) -> Any:
    """The adapter, with its magnitudes reshaped so that they can multiply a weight of this shape.

    The result has one for each output, (out, 1, …), or one for each input, (1, in, 1, …). The file can have any shape.
    `function` is applied to the delta: it changes the order of the outputs, so magnitudes of outputs are reordered in
    the same way. Raises Mismatch (`shapeClash`) for magnitudes that match no axis.
    """
    place = MAGNITUDES.get(getattr(value, "name", ""))
    scale = value.weights[place] if place is not None else None
    if place is None or scale is None:
        return value
    ones = [1] * (len(shape) - 2)
    is_of_inputs = scale.dim() > 1 and scale.shape[0] == 1 and scale.numel() == shape[1]
    if scale.dim() and scale.numel() == shape[0] and (scale.shape[0] == shape[0] or not is_of_inputs):
        fitted = scale.reshape(-1, 1, *ones)
        fitted = function(fitted) if function is not None else fitted
    elif is_of_inputs:
        fitted = scale.reshape(1, -1, *ones)
    else:
        raise Mismatch(
            f"The magnitudes (dora_scale) of {stem} have the shape {_by(scale.shape)}, which matches no axis "
            f"of the weight ({_by(shape)})",
            code="shapeClash",
            remedy=_REMEDY,
        )
    return type(value)(value.loaded_keys, (*value.weights[:place], fitted, *value.weights[place + 1 :]))


def _by(shape: Any) -> str:
    return "×".join(map(str, shape)) or "()"
