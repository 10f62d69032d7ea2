"""Headers of .safetensors files as an attacker might write them: seeds, mutations of seeds, and the costliest headers.

Each result is the beginning of a file. The data after the header are left out, because nothing reads them.
`claimed_size` returns the size that the file would need for the tensors that its header describes.
"""

from __future__ import annotations

import contextlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from lora_resolver.model_file.safetensors_header import DTYPE_BITS, MAX_HEADER_BYTES
from tests.header_samples import samples

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["COSTLY", "claimed_size", "mutated", "seeds", "with_length"]

SAMPLE_TENSORS = 40
"""Tensors that a seed takes from each real header: enough for all kinds of names, and fast."""


def with_length(header: bytes | str) -> bytes:
    """Returns the header with its length in front, as at the start of a file."""
    encoded = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    return len(encoded).to_bytes(8, "little") + encoded


_END = re.compile(rb"\d\s*,\s*(\d{1,16})\s*\]")


def claimed_size(file: bytes) -> int:
    """Returns the size of a file whose last tensor ends at the highest end offset in its header."""
    length = min(int.from_bytes(file[:8], "little"), MAX_HEADER_BYTES)
    return 8 + length + max(map(int, _END.findall(file)), default=0)


@cache
def seeds() -> tuple[bytes, ...]:
    """Returns shortened valid headers from the samples of real files, and hand-written hostile ones."""
    sound = [_cut_short(sample.header.tensors, sample.header.metadata) for sample in samples()]
    return tuple(map(with_length, (*sound, *_BY_HAND)))


def _cut_short(tensors: Any, metadata: Any) -> str:
    header: dict[str, Any] = {"__metadata__": {key: value[:200] for key, value in list(metadata.items())[:8]}}
    end = 0
    for name, info in list(tensors.items())[:SAMPLE_TENSORS]:
        start, dtype = end, info.dtype if info.dtype in DTYPE_BITS else "F16"
        end += _bytes_of(dtype, info.shape)
        header[name] = {"dtype": dtype, "shape": list(info.shape), "data_offsets": [start, end]}
    return json.dumps(header, separators=(",", ":"))


def _bytes_of(dtype: str, shape: Any) -> int:
    bits = DTYPE_BITS[dtype]
    for size in shape:
        bits *= size
    return bits // 8


_ENTRY = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
_EMPTY = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'

_BY_HAND = (
    "{}",
    '{"__metadata__":{}}',
    '{"__metadata__":{"ss_tag_frequency":"{\\"a\\": {\\"b\\": 1}}"}}',
    '{ "a" : { "data_offsets" : [0, 1], "shape" : [ 1 ], "dtype" : "U8" } }   ',
    f'{{"a":{_ENTRY},"a":{_ENTRY}}}',
    f'{{"a\\u00e9\\ud83d\\ude00":{_ENTRY}}}',
    f'{{"\\ud800":{_ENTRY}}}',
    f'{{"模型😀":{_ENTRY}}}',
    '{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}',
    '{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
    '{"a":{"dtype":"U8","shape":[9999999999999999],"data_offsets":[0,9999999999999999]}}',
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}',
    f'{{"lora_unet_double_blocks_#_img_mlp_0.lora_down.weight":{_ENTRY}}}',
    f'{{"diffusion_model.double_blocks.#.img_mlp.#.lora_A.weight":{_ENTRY}}}',
    f'{{".weight":{_ENTRY}}}',
    f'{{"":{_ENTRY}}}',
    "{" + '"' * 40 + "}",
    '{"a":' + "[" * 400 + "}",
    '{"a":{"dtype":"U8","shape":' + "[" * 400 + "}}",
)

# Replacements for names, dtypes, numbers, and texts. Each of them has broken a reader of some format.
_NAMES = (
    "", ".", "..", ".weight", "#", "_#", "__metadata__", "a" * 512, "a" * 513, "é" * 300, "😀", "\x00", "\n", '"', "\\",
    "lora_unet_", "lora_te", "lora_te3_", "te_", "text_encoder_", "unet:1:down", "model.", "base_model.model.",
    "_0" * 200, ".0" * 200, "_٣", "²", "9" * 200, "\ud800", "lora_down", ".lora_A.", ".lora_A.x.weight", "hada_w1_a",
    "lokr_w1", "oft_blocks", "boft_R", "glora", "dora_scale", "alpha", "diff", "reshape_weight", "a1.weight",
    "b2.weight", "double_blocks_#_img_mlp_", "down_blocks_#_attentions_", "transformer_blocks.", "q_proj",
    "self_attn.", "swin", "sub",
)  # fmt: skip
_DTYPES = (*DTYPE_BITS, "", "f16", "F17", "F" * 21, "F8_E4M3 ", "\x00", "é")
_MOVES = (-64, -2, -1, 1, 2, 64, 10**6)
_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 320, 768, 1024, 3072, 2**31, 2**32, 2**53, 2**63, 2**64, 10**15, 10**16, -1, 1.5,
            True, None, "1", [], {}, 10**40)  # fmt: skip
_TOKENS = (
    b"", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b" ", b"\t", b"\x00", b"\n", b"0", b"-", b"1e9", b"9" * 30,
    b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\\u0000", b"\\ud800", b"\\u0061", b"null", b"true",
    b"NaN",
    b'"__metadata__":{', b'"a":', b'"dtype":"F16"', b'"shape":[', b'"data_offsets":[0,0]', b"{}", b"[]", b"[" * 50,
    b'{"a":' * 20, b" " * 300, b"#", b"_#",
)  # fmt: skip
_SEPARATORS = ((",", ":"), (", ", ": "), (" ,\t", " :\n"))


def mutated(file: bytes, chance: random.Random) -> bytes:
    """Returns the file with one to four changes, to its header's values, to its characters, or to its length."""
    if len(file) > 9 and chance.random() < 0.6:
        try:
            pairs = json.loads(file[8:], object_pairs_hook=list)
        except (ValueError, RecursionError):
            pairs = None
        if isinstance(pairs, list) and pairs and all(isinstance(pair, tuple) for pair in pairs):
            for _ in range(chance.randint(1, 3)):
                _change(pairs, chance)
            with contextlib.suppress(RecursionError):  # nested too deeply to be written again
                file = with_length(_written(pairs, chance))
    if chance.random() < 0.4:
        body = bytearray(file[8:])
        if chance.random() < 0.1:
            _swell(body, chance)
        for _ in range(chance.randint(1, 4)):
            at = chance.randint(0, len(body))
            body[at : at + chance.choice((0, 0, 1, 2, 8, 60))] = chance.choice(_TOKENS)
        file = with_length(bytes(body))
    if chance.random() < 0.05:
        length = chance.choice((0, 1, 2, 8, 2**24, 2**24 + 1, 2**63, 2**64 - 1, len(file), len(file) - 9))
        file = max(length, 0).to_bytes(8, "little") + file[8:]
    return file


def _swell(body: bytearray, chance: random.Random) -> None:
    """Repeats a part, nests very deeply, or pads."""
    at, what = chance.randint(0, len(body)), chance.randrange(4)
    many = chance.choice((8, 1000, 100_000))
    if what == 0:
        body[at:at] = body[chance.randint(0, at) : chance.randint(at, len(body))]
    elif what == 1:
        body[-1:] = (
            b',"deep":'
            + chance.choice((b"[" * many + b"]" * many, b'{"a":' * many + b"1" + b"}" * many))
            + b"}"
        )
    elif what == 2:
        body += chance.choice((b" ", b"\n", b"\0", b"}", b"x")) * many
    else:
        body[-1:] = (
            b"," + b",".join(b'"t%d":%s' % (at, _EMPTY.encode()) for at in range(min(many, 2000))) + b"}"
        )


_NAME_PIECE = re.compile(r"\w+")


def _change(pairs: list[Any], chance: random.Random) -> None:
    """Makes one change to the header's values."""
    at = chance.randrange(len(pairs))
    name, value = pairs[at]
    what = chance.randrange(9)
    if what == 0:
        pairs[at] = (chance.choice(_NAMES), value)
    elif what == 1:  # keeps the ending, which identifies an adapter's tensors
        pairs[at] = (chance.choice(_NAMES) + name, value)
    elif what == 2:
        pairs[at] = (_NAME_PIECE.sub(lambda piece: _maybe(piece[0], chance), name), value)
    elif what == 3:
        pairs.insert(chance.randrange(len(pairs) + 1), pairs[at])
    elif what == 4:
        other = chance.randrange(len(pairs))
        pairs[at], pairs[other] = (name, pairs[other][1]), (pairs[other][0], value)
    elif what == 5:
        chance.shuffle(pairs)
    elif what == 6:  # offsets with the correct length at the wrong position
        by = chance.choice(_MOVES)
        pairs[at] = (name, [(key, _moved(key, each, by)) for key, each in _members(value)])
    elif isinstance(value, list) and value:
        value = list(value)
        member = chance.randrange(len(value))
        if isinstance(value[member], tuple):
            value[member] = (value[member][0], _other(value[member][1], chance))
        pairs[at] = (name, value)


def _members(value: Any) -> list[tuple[str, Any]]:
    return [each for each in value if isinstance(each, tuple)] if isinstance(value, list) else []


def _moved(key: str, value: Any, by: int) -> Any:
    if key != "data_offsets" or not isinstance(value, list):
        return value
    return [each + by if type(each) is int else each for each in value]


def _maybe(piece: str, chance: random.Random) -> str:
    return chance.choice(_NAMES) if chance.random() < 0.2 else piece


def _other(value: Any, chance: random.Random) -> Any:
    if isinstance(value, str):
        return chance.choice((*_DTYPES, *_NAMES, value * 20))
    if isinstance(value, list):
        kept = [each if chance.random() < 0.5 else chance.choice(_NUMBERS) for each in value]
        return (
            kept[: chance.randint(0, len(kept))]
            if chance.random() < 0.2
            else kept + [1] * chance.choice((0, 0, 0, 40))
        )
    return chance.choice(_NUMBERS)


def _written(pairs: list[Any], chance: random.Random) -> str:
    """Writes JSON again, including duplicate names."""
    comma, colon = chance.choice(_SEPARATORS)
    as_ascii = chance.random() < 0.3

    def text(value: Any) -> str:
        if isinstance(value, list) and value and all(isinstance(each, tuple) for each in value):
            inner = comma.join(
                f"{json.dumps(str(key), ensure_ascii=as_ascii)}{colon}{text(each)}" for key, each in value
            )
            return f"{{{inner}}}"
        return json.dumps(value, ensure_ascii=as_ascii, separators=(comma, colon))

    return text(pairs)


# ----------------------------------------------------------------------------------------------------------------------
# The costliest headers: at the limit of the length or of the number of names, in every form that might be a problem
# for a reader. Each is created only when it is needed, because together they take a gigabyte.

_MOST = MAX_HEADER_BYTES - 200


def _filled(entry: Callable[[int], str], most: int = _MOST, begin: str = "{", names: int = 4_000_000) -> str:
    """Returns as many entries as fit. `names` limits the total length of the names, to stay within what is read."""
    entries, size, length, number = [], 0, 0, 0
    while number < 49_990:
        text = entry(number)
        size += (len(text) if text.isascii() else len(text.encode())) + 1
        length += text.find('":') - 1
        if size > most or length > names:
            break
        entries.append(text)
        number += 1
    return begin + ",".join(entries) + "}"


def _tensors(name: str, members: str = _EMPTY, names: int = 4_000_000) -> Callable[[], str]:
    """A header of tensors without bytes. `@` in the name stands for the tensor's number."""
    before, _, after = name.partition("@")
    return lambda: _filled(lambda number: f'"{before}{number}{after}":{members}', names=names)


def _metadata(name: str, value: str, names: int = 4_000_000) -> Callable[[], str]:
    return lambda: _filled(lambda at: f'"{at}{name}":"{value}"', begin='{"__metadata__":{', names=names) + "}"


def _with_filler(value: str, filler: str) -> Callable[[], str]:
    """A metadata text that is kept, followed by as much of `filler` as fits."""
    rest = (_MOST - len(value.encode())) // len(filler.encode())
    return lambda: f'{{"__metadata__":{{"a":"{value}","b":"{filler * rest}"}}}}'


_KEPT = 2 * 1024**2 - 50
_MANY_SIZES = ",".join(str(9 * 10**15 - number) for number in range(29))
_ONE_DOWN = "lora_unet_@.lora_down.weight"

COSTLY: dict[str, Callable[[], str]] = {
    "empty lists": lambda: '{"a":[' + "[]," * (_MOST // 3) + "0]}",
    "deep lists": lambda: '{"a":' + "[" * _MOST + "}",
    "deep objects": lambda: '{"a":' * (_MOST // 5) + "1}",
    "deep lists in shapes": _tensors("@", '{"dtype":"U8","shape":' + "[" * 8000 + "}"),
    "an endless name": lambda: '{"' + "a" * _MOST + '":1}',
    "spaces": lambda: "{" + " " * _MOST + "}",
    "spaces in a tensor": lambda: '{"a":{"dtype":"U8",' + " " * _MOST + "}}",
    "quotes": lambda: "{" + '"' * _MOST + "}",
    "many tensors": lambda: "{" + ",".join(f'"{number}":{_EMPTY}' for number in range(270_000)) + "}",
    "many tensors with spaces": lambda: _filled(lambda number: f' "{number}" : {_EMPTY}'),
    "many metadata": _metadata("", "x"),
    "long names": _tensors("@" + "n" * 500),
    "long names, not ASCII": _tensors("@" + "n" * 500 + "😀"),
    "long names, over the limit": _tensors("@" + "n" * 490 + "😀", names=10**9),
    "long names with escapes": _tensors("@" + "n" * 490 + "\\ud83d\\ude00"),
    "shapes that all differ": lambda: _filled(
        lambda n: f'"{n}":{{"dtype":"U8","shape":[0,{n + 10**15},{_MANY_SIZES}],"data_offsets":[0,0]}}'
    ),
    "sizes that all differ": lambda: _filled(
        lambda n: f'"{n}":{{"dtype":"U8","shape":[{10**15 + n}],"data_offsets":[{n},{10**15 + 2 * n}]}}'
    ),
    "a tensor in 8,000 characters": _tensors(
        "@", '{"shape":[0' + ",1" * 31 + "]" + " " * 7900 + ',"dtype":"U8","data_offsets":[0,0]}'
    ),
    "metadata with long names": _metadata("n" * 400 + "😀", "x"),
    "metadata with long names and escapes": _metadata("n" * 400 + "\\ud83d\\ude00", "x"),
    "metadata with long names, over the limit": _metadata("n" * 400 + "😀", "x", names=10**9),
    "backslashes": lambda: '{"__metadata__":{"a":"' + "\\" * (_MOST - 50) + '"}}',
    "backslashes and quotes": _with_filler("", '\\\\\\"'),
    "a long text, not ASCII": _with_filler("t" * _KEPT + "😀", "b"),
    "a long text with escapes": _with_filler("t" * _KEPT + "\\ud83d\\ude00", '\\\\\\"'),
    "a long text of line breaks": _with_filler("\\n" * (_KEPT // 2) + "😀", '\\\\\\"'),
    "texts of half a megabyte": _with_filler("", "é" * 250_000 + '","c":"'),
    "metadata, and tensors": lambda: (
        _filled(lambda n: f'"{n}{"m" * 150}😀":"\\"\\\\"', _MOST // 2, '{"__metadata__":{')
        + ","
        + _filled(lambda n: f'"{n}{"t" * 400}":{_EMPTY}', _MOST // 2, "")
    ),
    # Headers that might be a problem for the detection of the architecture.
    "modules of one tensor": _tensors(_ONE_DOWN),
    "modules without a number": lambda: _filled(
        lambda n: f'"lora_unet_{_letters(n)}.lora_down.weight":{_EMPTY}'
    ),
    "modules without a number, long": lambda: _filled(
        lambda n: f'"lora_unet_{_letters(n)}{"x" * 50}.lora_down.weight":{_EMPTY}'
    ),
    "numbers in names": _tensors("@" + "_1" * 240 + ".lora_down.weight"),
    "dots in names": _tensors("@" + "." * 480 + "lora_down.weight"),
    "prefixes": _tensors("model." * 80 + "@.lora_down.weight"),
    "words of other models": _tensors("swin" * 120 + "@.lora_A.weight"),
    "words of language models": _tensors("layers.1.self_attn." + "a." * 230 + "@.lora_A.weight"),
    "words of video models": _tensors("_cross_attn_" * 40 + "@.lora_A.weight"),
    "a checkpoint": _tensors("model.diffusion_model." + "blocks." * 60 + "@.weight"),
    "no adapter": _tensors("n" * 450 + ".@"),
}


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))
