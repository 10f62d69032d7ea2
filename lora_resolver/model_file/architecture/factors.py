"""Reads one module's tensors: the kind of adapter, its rank, and the size of the weight that it changes.

How each kind's factors multiply: ComfyUI `comfy/weight_adapter/*`, KohakuBlueleaf/LyCORIS `lycoris/modules/*`.
"""

from __future__ import annotations

__all__ = ["Roles", "is_half", "read_factors"]

Roles = dict[str, tuple[int, ...]]
"""A module's tensors: role → shape. An empty shape is unknown."""

_Sizes = tuple["int | None", "int | None", "int | None", bool]
"""(rank, inputs, outputs, convolution); None where the shapes don't show it."""


def read_factors(roles: Roles) -> tuple[str, int | None, int | None, int | None, bool]:
    """(kind, rank, inputs, outputs, convolution). The kind is empty if there are only extra tensors, such as alpha."""
    down, up = roles.get("down"), roles.get("up")
    if down is not None or up is not None:
        kind = "dora" if "dora_scale" in roles else "lora"
        inputs = down[1] if down and len(down) > 1 else None
        outputs = up[0] if up and len(up) > 1 else None
        rank = down[0] if inputs is not None and down else up[1] if outputs is not None and up else None
        return kind, rank, inputs, outputs, bool(down) and len(down or ()) > 2
    for kind, sign, read in _READERS:
        if sign in roles:
            kind = "boft" if sign == "oft_blocks" and len(roles[sign]) == 4 else kind
            return (kind, *read(roles))
    return "", None, None, None, False


def is_half(roles: Roles) -> bool:
    """Whether, judging by the roles, a factor is missing that another one needs."""
    if any(role in roles for role in ("up", "down", "mid")) and not ("up" in roles and "down" in roles):
        return True
    if any(role.startswith("hada_") for role in roles) and not roles.keys() >= _LOHA:
        return True
    if any(role.startswith("lokr_") for role in roles):
        for whole in ("lokr_w1", "lokr_w2"):
            if whole not in roles and not (f"{whole}_a" in roles and f"{whole}_b" in roles):
                return True
    return not roles.keys().isdisjoint(_GLORA) and not roles.keys() >= _GLORA


_LOHA = frozenset(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"))
_GLORA = frozenset(("a1", "a2", "b1", "b2"))


def _read_loha(roles: Roles) -> _Sizes:
    a, b = roles.get("hada_w1_a", ()), roles.get("hada_w1_b", ())
    tucker = "hada_t1" in roles  # then the factors are (rank, out) and (rank, in)
    outputs = a[1 if tucker else 0] if len(a) > 1 else None
    return b[0] if len(b) > 1 else None, b[1] if len(b) > 1 else None, outputs, tucker


def _read_lokr(roles: Roles) -> _Sizes:
    """The sizes of a Kronecker product are the products of its factors' sizes. Each factor is whole or of low rank."""
    first = roles.get("lokr_w1") or _lokr_product(roles, "lokr_w1")
    second = roles.get("lokr_w2") or _lokr_product(roles, "lokr_w2", tucker="lokr_t2" in roles)
    convolution = len(second) > 2 or "lokr_t2" in roles
    low_rank = roles.get("lokr_w2_b") or roles.get("lokr_w1_b")
    rank = low_rank[0] if low_rank else None
    if len(first) < 2 or len(second) < 2:
        return rank, None, None, convolution
    return rank, first[1] * second[1], first[0] * second[0], convolution


def _lokr_product(roles: Roles, name: str, *, tucker: bool = False) -> tuple[int, ...]:
    """(out, in) of a factor that is itself a product; empty if unknown."""
    a, b = roles.get(name + "_a", ()), roles.get(name + "_b", ())
    return (a[1 if tucker else 0], b[1]) if len(a) > 1 and len(b) > 1 else ()


def _read_oft(roles: Roles) -> _Sizes:
    """Square blocks along the output: (blocks, size, size)."""
    shape = roles.get("oft_blocks") or roles.get("oft_diag") or ()
    square = len(shape) > 2 and shape[-1] == shape[-2]
    return None, None, shape[-3] * shape[-2] if square else None, False


def _read_glora(roles: Roles) -> _Sizes:
    a, b = (
        roles.get("a1", ()),
        roles.get("b2", ()),
    )  # (rank, in), (out, rank); in older files the other way round
    return min(a[:2], default=None), max(a[:2], default=None), max(b[:2], default=None), len(a) > 2


def _read_diff(roles: Roles) -> _Sizes:
    shape = roles.get("diff") or roles.get("set_weight") or roles.get("w_norm") or ()
    return None, shape[1] if len(shape) > 1 else None, shape[0] if shape else None, len(shape) > 2


def _read_bias(roles: Roles) -> _Sizes:
    shape = roles.get("diff_b") or roles.get("b_norm") or ()
    return None, None, shape[0] if shape else None, False


def _read_nothing(_: Roles) -> _Sizes:
    return None, None, None, False


# (kind, role, function that reads rank, inputs, outputs, convolution). The first role that a module has gives its kind.
_READERS = (
    ("loha", "hada_w1_a", _read_loha),
    ("loha", "hada_w1_b", _read_loha),
    ("loha", "hada_w2_a", _read_nothing),
    ("loha", "hada_w2_b", _read_nothing),
    *(
        ("lokr", role, _read_lokr)
        for role in ("lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b")
    ),
    ("oft", "oft_blocks", _read_oft),
    ("oft", "oft_diag", _read_oft),
    ("oft", "oft_blocks.0", _read_nothing),
    ("oft", "oft_R", _read_nothing),
    ("boft", "boft_R", _read_nothing),
    ("glora", "a1", _read_glora),
    ("glora", "a2", _read_glora),
    ("glora", "b1", _read_glora),
    ("glora", "b2", _read_glora),
    ("ia3", "ia3", _read_nothing),
    ("diff", "diff", _read_diff),
    ("diff", "set_weight", _read_diff),
    ("diff", "w_norm", _read_diff),
    ("diff", "diff_b", _read_bias),
    ("diff", "b_norm", _read_bias),
)
