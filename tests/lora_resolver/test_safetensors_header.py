"""Headers as trainers and attackers write them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_resolver.errors import NotFound, StorageFailed, VerificationFailed
from lora_resolver.model_file.safetensors_header import (
    DTYPE_BITS,
    MAX_HEADER_BYTES,
    TensorInfo,
    header_end,
    parse_header,
    read_header,
)


def file_of(header: bytes | str | dict[str, Any], data: int = 0) -> bytes:
    """A file with this header and `data` zero bytes."""
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":"))
    if isinstance(header, str):
        header = header.encode()
    return len(header).to_bytes(8, "little") + header + bytes(data)


def parse(file: bytes) -> Any:
    return parse_header(file, len(file))


def tensor(
    dtype: str = "F16", shape: tuple[int, ...] = (2, 2), start: int = 0, end: int = 8
) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def test_reads_a_lora() -> None:
    file = file_of(
        {
            "__metadata__": {"ss_network_dim": "4", "ss_tag_frequency": '{"1_dog": {"a \\"good\\" dog": 2}}'},
            "lora_unet_mid.alpha": tensor("F32", (), 0, 4),
            "lora_unet_mid.lora_down.weight": tensor("BF16", (4, 320), 4, 2564),
        },
        data=2564,
    )
    header = parse(file)
    assert header.tensors == {
        "lora_unet_mid.alpha": TensorInfo("F32", (), 0, 4),
        "lora_unet_mid.lora_down.weight": TensorInfo("BF16", (4, 320), 4, 2564),
    }
    assert header.metadata == {
        "ss_network_dim": "4",
        "ss_tag_frequency": '{"1_dog": {"a \\"good\\" dog": 2}}',
    }
    assert header.data_start == len(file) - 2564
    assert header.file_size == len(file)


SOUND: list[tuple[str, str, int, dict[str, TensorInfo]]] = [
    # case, header, bytes of data, tensors
    ("no tensor", "{}", 0, {}),
    ("no tensor, with spaces", "{ }  ", 0, {}),
    ("only metadata", '{"__metadata__":{}}', 0, {}),
    (
        "padded",
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ',
        1,
        {"a": TensorInfo("U8", (1,), 0, 1)},
    ),
    (
        "with spaces and another order of members",
        '{ "a" : { "data_offsets" : [0, 1], "shape" : [ 1 ], "dtype" : "U8" } }',
        1,
        {"a": TensorInfo("U8", (1,), 0, 1)},
    ),
    (
        "tensors in another order than they lie in",
        '{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        2,
        {"b": TensorInfo("U8", (1,), 1, 2), "a": TensorInfo("U8", (1,), 0, 1)},
    ),
    (
        "an empty tensor",
        '{"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}}',
        0,
        {"a": TensorInfo("F32", (0, 9), 0, 0)},
    ),
    (
        "a name in other letters",
        '{"模型.größe":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}',
        1,
        {"模型.größe": TensorInfo("U8", (), 0, 1)},
    ),
    (
        "a name with escapes",
        '{"a\\u00e9\\"\\\\":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}',
        1,
        {'aé"\\': TensorInfo("U8", (), 0, 1)},
    ),
    (
        "two fours in a byte",
        '{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}',
        3,
        {"a": TensorInfo("F4", (2, 3), 0, 3)},
    ),
    (
        "four sixes in three bytes",
        '{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}',
        3,
        {"a": TensorInfo("F6_E2M3", (4,), 0, 3)},
    ),
]


@pytest.mark.parametrize(
    ("header", "data", "tensors"), [case[1:] for case in SOUND], ids=[case[0] for case in SOUND]
)
def test_reads_every_sound_header(header: str, data: int, tensors: dict[str, TensorInfo]) -> None:
    assert parse(file_of(header, data)).tensors == tensors


@pytest.mark.parametrize(("dtype", "bits"), DTYPE_BITS.items())
def test_knows_the_size_of_every_dtype(dtype: str, bits: int) -> None:
    assert parse(file_of({"a": tensor(dtype, (2, 4), 0, bits)}, data=bits)).tensors["a"].dtype == dtype


def one(members: str, data: int = 1) -> bytes:
    """A file with one tensor `a`, described by `members`."""
    return file_of('{"a":{' + members + "}}", data)


ENTRY = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
HOSTILE: list[tuple[str, bytes, str, str]] = [
    # case, file, code, part of the message
    ("empty file", b"", "fileEmpty", "empty"),
    ("five bytes", b"\x05\0\0\0\0", "fileTruncated", "bytes: 5"),
    (
        "a login page",
        b"<!DOCTYPE html><html><body>Log in</body></html>",
        "notSafetensors",
        "a web page",
    ),
    ("a page after blank lines", b"\n\n  <HTML><head>" + b" " * 20, "notSafetensors", "a web page"),
    ("a JSON error", b'{"error":"Unauthorized","message":"log in"}', "notSafetensors", "an error message"),
    ("a pickle", b"\x80\x02}q\x00(X\x05\x00\x00\x00epoch", "notSafetensors", "a PyTorch pickle"),
    ("a zipped pickle", b"PK\x03\x04" + bytes(60), "notSafetensors", "a zip archive or a PyTorch pickle"),
    ("GGUF", b"GGUF\x03\0\0\0" + bytes(60), "notSafetensors", "a GGUF file"),
    ("a preview", b"\x89PNG\r\n\x1a\n" + bytes(60), "notSafetensors", "a PNG image"),
    (
        "a Git LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
        "notSafetensors",
        "a Git LFS pointer",
    ),
    ("anything else", b"hello, I am a model file", "notSafetensors", "b'hello, I am a mo'"),
    ("no brace", file_of("[1,2]"), "notSafetensors", "it starts with"),
    ("length beyond the file", (99).to_bytes(8, "little") + b"{}", "headerTruncated", "should have 99 bytes"),
    (
        "length of 2^64-1",
        b"\xff" * 8 + b"{}" + bytes(90),
        "headerTruncated",
        "should have 18,446,744,073,709,551,615",
    ),
    ("not UTF-8", file_of(b'{"\xff\xfe":' + ENTRY.encode() + b"}", 1), "headerNotText", "UTF-8"),
    ("a lone surrogate", file_of('{"\\ud800":' + ENTRY + "}", 1), "headerNotText", "UTF-8"),
    ("metadata not UTF-8", file_of(b'{"__metadata__":{"a":"\xff"}}'), "headerNotText", "UTF-8"),
    ("cut off", file_of('{"a":{"dtype":"U8","shape":[1],'), "headerMalformed", "'a' needs a dtype"),
    ("no JSON", file_of("{hello}"), "headerMalformed", "'hello}'"),
    ("a comma too many", file_of('{"a":' + ENTRY + ",}", 1), "headerMalformed", "byte "),
    ("more after the end", file_of('{"a":' + ENTRY + "}{}", 1), "headerMalformed", "the end of the header"),
    (
        "control character in a name",
        file_of('{"a\nb":' + ENTRY + "}", 1),
        "headerMalformed",
        "expected text",
    ),
    ("a broken escape", file_of('{"a\\q":' + ENTRY + "}", 1), "headerMalformed", "expected text"),
    (
        "the same name twice",
        file_of('{"a":' + ENTRY + ',"a":' + ENTRY + "}", 1),
        "duplicateName",
        "'a' appears twice",
    ),
    (
        "the same name twice, once escaped",
        file_of('{"a":' + ENTRY + ',"\\u0061":' + ENTRY + "}", 1),
        "duplicateName",
        "'a'",
    ),
    (
        "metadata twice",
        file_of('{"__metadata__":{},"__metadata__":{}}'),
        "duplicateName",
        "'__metadata__' appears twice",
    ),
    (
        "a metadata name twice",
        file_of('{"__metadata__":{"a":"1","a":"2"}}'),
        "duplicateName",
        "'a' appears twice",
    ),
    ("metadata of numbers", file_of('{"__metadata__":{"a":1}}'), "metadataNotText", "text values"),
    (
        "metadata of objects",
        file_of('{"__metadata__":{"a":{"b":"c"}}}'),
        "metadataNotText",
        "text values",
    ),
    ("a tensor as metadata", file_of('{"__metadata__":' + ENTRY + "}", 1), "metadataNotText", "is a tensor"),
    ("no dtype", one('"shape":[1],"data_offsets":[0,1]'), "headerMalformed", "'a' needs a dtype"),
    ("a member twice", one('"dtype":"U8","dtype":"U8","shape":[1]'), "headerMalformed", "'a'"),
    (
        "a member too many",
        one('"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1'),
        "headerMalformed",
        "'a'",
    ),
    ("one offset", one('"dtype":"U8","shape":[1],"data_offsets":[1]'), "headerMalformed", "'a'"),
    ("a negative size", one('"dtype":"U8","shape":[-1],"data_offsets":[0,1]'), "headerMalformed", "'a'"),
    ("a size in fractions", one('"dtype":"U8","shape":[1.0],"data_offsets":[0,1]'), "headerMalformed", "'a'"),
    ("true as a size", one('"dtype":"U8","shape":[true],"data_offsets":[0,1]'), "headerMalformed", "'a'"),
    (
        "a size of 40 digits",
        one('"dtype":"U8","shape":[' + "9" * 40 + '],"data_offsets":[0,1]'),
        "headerMalformed",
        "'a'",
    ),
    ("200 dimensions", file_of({"a": tensor("U8", (1,) * 200, 0, 1)}, 1), "headerMalformed", "'a'"),
    ("nested sizes", one('"dtype":"U8","shape":[[1]],"data_offsets":[0,1]'), "headerMalformed", "'a'"),
    ("an unknown dtype", file_of({"a": tensor("F17")}, 8), "unknownDtype", "dtype 'F17'"),
    ("half a byte", file_of({"a": tensor("F4", (3,), 0, 2)}, 2), "shapeMismatch", "a whole number of bytes"),
    (
        "a shape larger than its bytes",
        file_of({"a": tensor("F16", (9, 9), 0, 8)}, 8),
        "shapeMismatch",
        "takes 162 bytes",
    ),
    (
        "a shape that overflows 64 bits",
        file_of({"a": tensor("F16", (2**31,) * 4, 0, 8)}, 8),
        "shapeMismatch",
        "'a'",
    ),
    ("offsets backwards", file_of({"a": tensor("U8", (0,), 8, 0)}, 8), "shapeMismatch", "8 to 0"),
    (
        "beyond the file",
        file_of({"a": tensor("U8", (100,), 0, 100)}, 8),
        "fileTruncated",
        "only 8 follow the header",
    ),
    (
        "overlapping",
        file_of({"a": tensor(), "b": tensor("F16", (2,), 4, 8)}, 8),
        "offsetsOverlap",
        "'a' and 'b'",
    ),
    (
        "a hole",
        file_of({"a": tensor(), "b": tensor("F16", (2,), 12, 16)}, 16),
        "offsetsHole",
        "before tensor 'b': 4",
    ),
    (
        "a hole at the start",
        file_of({"a": tensor("F16", (2,), 4, 8)}, 8),
        "offsetsHole",
        "before tensor 'a': 4",
    ),
    ("bytes after the last", file_of({"a": tensor()}, 9), "trailingBytes", "after the last tensor: 1"),
    ("a name of 2,000 letters", file_of({"a" * 2000: tensor()}, 8), "tensorNameTooLong", "2,000 bytes"),
]


@pytest.mark.parametrize(
    ("file", "code", "part"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_refuses_with_a_reason_and_a_remedy(file: bytes, code: str, part: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        parse(file)
    assert (caught.value.code, part in caught.value.message) == (code, True), caught.value
    assert caught.value.remedy
    assert len(str(caught.value)) < 500


def test_refuses_a_header_over_the_limit_without_reading_it() -> None:
    begin = (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b'{"a":'
    with pytest.raises(VerificationFailed, match="16,777,216") as caught:
        parse_header(begin, 2**40)
    assert caught.value.code == "headerTooLarge"


def test_keeps_two_megabytes_of_metadata_and_checks_the_rest() -> None:
    header = parse(file_of({"__metadata__": {"a": "x" * 2_000_000, "b": "é" * 2_000_000, "c": "kept"}}))
    assert header.metadata == {"a": "x" * 2_000_000, "c": "kept"}


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_escapes_are_read_wherever_the_header_is_cut_to_be_read_in_pieces(before: int) -> None:
    texts = {"a": "x" * before + "\\" * 40_000 + '"' * 40_001 + "}", "b": "\\"}
    assert parse(file_of({"__metadata__": texts})).metadata == texts


def test_a_header_fetched_by_range() -> None:
    file = file_of({"a": tensor("U8", (5000,), 0, 5000)}, 5000)
    end = header_end(file[:16], len(file))
    assert end == len(file) - 5000
    for fetched in (end, end + 1, len(file)):
        assert parse_header(file[:fetched], len(file)).tensors == {"a": TensorInfo("U8", (5000,), 0, 5000)}
    with pytest.raises(VerificationFailed, match=f"only {end - 1} of the {end} header bytes") as caught:
        parse_header(file[: end - 1], len(file))
    assert caught.value.code == "headerTruncated"


def test_reads_only_the_header_of_a_file(tmp_path: Any) -> None:
    path = tmp_path / "sparse.safetensors"
    header = file_of({"a": tensor("U8", (10**12,), 0, 10**12)})
    with path.open("wb") as file:  # a sparse terabyte
        file.write(header)
        file.truncate(len(header) + 10**12)
    assert read_header(path).tensors["a"].end == 10**12
    assert read_header(str(path)) == read_header(path)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Any) -> None:
    with pytest.raises(NotFound, match=r"gone\.safetensors"):
        read_header(tmp_path / "gone.safetensors")
    with pytest.raises(StorageFailed, match=tmp_path.name):
        read_header(tmp_path)


NAMES = st.text(min_size=1, max_size=30).filter(lambda name: name != "__metadata__" and name.isprintable())


@given(
    shapes=st.dictionaries(
        NAMES, st.tuples(st.sampled_from(sorted(DTYPE_BITS)), st.lists(st.integers(0, 8), max_size=4))
    ),
    metadata=st.dictionaries(st.text(max_size=20), st.text(max_size=60)),
    ascii_only=st.booleans(),
    spaced=st.booleans(),
)
@settings(deadline=None)
def test_what_is_written_is_read(
    shapes: dict[str, tuple[str, list[int]]], metadata: dict[str, str], ascii_only: bool, spaced: bool
) -> None:
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name, (dtype, shape) in shapes.items():
        size = DTYPE_BITS[dtype]  # so that eight of these tensors are whole bytes
        for length in shape:
            size *= length
        header[name] = tensor(dtype, (*shape, 8), offset, offset + size)
        offset += size
    text = json.dumps(header, ensure_ascii=ascii_only, separators=(", ", ": ") if spaced else (",", ":"))
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return
    parsed = parse_header(file_of(encoded), 8 + len(encoded) + offset)
    assert {name: (info.dtype, list(info.shape[:-1])) for name, info in parsed.tensors.items()} == {
        name: (dtype, shape) for name, (dtype, shape) in shapes.items()
    }
    assert parsed.metadata == metadata


SOUND_FILES = [file_of(header, data) for _, header, data, _ in SOUND]


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_header_is_read_or_refused_and_never_crashes(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(SOUND_FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(file) - 1))
        piece = data.draw(
            st.sampled_from(
                [b"", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"0", b"-", b"\xff", b"9" * 30]
            )
        )
        file[at : at + data.draw(st.integers(0, 3))] = piece
    try:
        header = parse(bytes(file))
    except VerificationFailed:
        return  # any other exception fails the test
    spans = sorted((info.start, info.end) for info in header.tensors.values())
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert not spans or header.data_start + spans[-1][1] == header.file_size
