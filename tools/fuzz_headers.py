"""Hostile safetensors headers by the hundred thousand: none may crash the reader, hold it for a second or cost 64 MiB.

    python -m tools.fuzz_headers --count 100000 [--seed 1]      headers broken with a plan; standard library only
    python -m tools.fuzz_headers --atheris --count 100000       guided by coverage; needs `pip install atheris`

Prints what it found and ends with status 1 if a header broke a promise; that header is written to a file then. The
promises are those of `lora_resolver.safetensors_header`: a header is read, or a VerificationFailed says why not.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_SECONDS = 1.0
MOST_BYTES = 64 * 1024**2
MEMORY_EVERY = 20
"""Memory is traced for each so many headers, since tracing makes everything several times slower."""


class Broken(Exception):
    """A header broke a promise."""


def examine(content: bytes, *, memory: bool = False) -> str:
    """Reads the header as the pack does: "read", or the code of the error. Raises Broken, or whatever came out."""
    from lora_resolver import LoraResolverError, detect_architecture, parse_header

    if memory:
        tracemalloc.start()
    started = time.process_time()
    try:
        detect_architecture(parse_header(content, len(content)))
        outcome = "read"
    except LoraResolverError as error:
        outcome = error.code
        if not error.message or len(str(error)) > 2000:
            raise Broken(f"an error of {len(str(error))} characters ({error.code})") from error
    finally:
        seconds = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1] if memory else 0
        if memory:
            tracemalloc.stop()
    if seconds > (MOST_SECONDS * 10 if memory else MOST_SECONDS):
        raise Broken(f"it took {seconds:.1f} s")
    if peak > MOST_BYTES:
        raise Broken(f"it took {peak / 1024**2:.0f} MiB")
    return outcome


def hostile_headers(chance: random.Random) -> Iterator[bytes]:
    """Without end: sound files, each broken in one to three ways."""
    sound = list(_sound())
    while True:
        header = json.loads(json.dumps(chance.choice(sound)))
        for _ in range(chance.randint(0, 2)):
            chance.choice(_ON_HEADERS)(header, chance)
        text = json.dumps(header, ensure_ascii=chance.random() < 0.5, separators=(",", ":"))
        for _ in range(chance.randint(0, 2)):
            text = chance.choice(_ON_TEXTS)(text, chance)
        content = text.encode("utf-8", errors="surrogatepass")
        for _ in range(chance.randint(0, 2)):
            content = chance.choice(_ON_BYTES)(content, chance)
        length = len(content)
        if chance.random() < 0.15:
            length = chance.choice(
                [0, 1, length - 1, length + 1, 2**24, 2**31, 2**63, 2**64 - 1, chance.getrandbits(64)]
            )
        ends = [info["data_offsets"][1] for info in header.values() if _is_tensor(info)]
        data = min(max(ends, default=0), 4096) if all(isinstance(end, int) for end in ends) else 0
        yield (
            struct.pack("<Q", length % 2**64)
            + content
            + bytes(max(0, data + chance.choice([0, 0, 0, 1, -1])))
        )


def _sound() -> Iterator[dict[str, Any]]:
    """Small headers of every kind of LoRA; their data take a few kilobytes."""
    yield {"__metadata__": {"format": "pt"}}
    stems = (
        "lora_unet_down_blocks_0_attentions_0_proj_in",
        "transformer.single_transformer_blocks.3.attn.to_q",
        "diffusion_model.blocks.0.self_attn.k",
        "lora_te1_text_model_encoder_layers_3_mlp_fc1",
    )
    endings = (
        ("lora_up.weight", "lora_down.weight", "alpha"),
        ("lora_A.weight", "lora_B.weight"),
        ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
        ("lokr_w1", "lokr_w2", "dora_scale"),
        ("diff", "diff_b"),
        ("oft_blocks", "alpha"),
    )
    for stem in stems:
        for names in endings:
            header: dict[str, Any] = {"__metadata__": {"ss_network_dim": "4", "ss_tag_frequency": "{}"}}
            end = 0
            for name in names:
                shape = [] if name == "alpha" else [4, 8]
                start, end = end, end + (2 if name == "alpha" else 64)
                header[f"{stem}.{name}"] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
            yield header


def _is_tensor(info: Any) -> bool:
    offsets = info.get("data_offsets") if isinstance(info, dict) else None
    return isinstance(offsets, list) and len(offsets) == 2


_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    2**15,
    2**31,
    2**53,
    2**63,
    2**64,
    10**40,
    0.5,
    float("nan"),
    True,
    None,
    "4",
    [],
    {},
)
_TEXTS = (
    "",
    "\0",
    "é",
    "\ud800",
    "x" * 1025,
    "x" * 70_000,
    '"',
    "\\",
    "__metadata__",
    "\u202e",
    "..",
    "F16",
    "f16",
    "F99",
)


def _any_tensor(header: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    tensors = [info for info in header.values() if _is_tensor(info)]
    return chance.choice(tensors) if tensors else {}


def _wrong_offsets(header: dict[str, Any], chance: random.Random) -> None:
    _any_tensor(header, chance)["data_offsets"] = [
        chance.choice(_NUMBERS) for _ in range(chance.randint(0, 3))
    ]


def _moved_offsets(header: dict[str, Any], chance: random.Random) -> None:
    """Of the right size, in the wrong place: over another tensor, behind a hole, beyond the file."""
    tensor = _any_tensor(header, chance)
    offsets = tensor.get("data_offsets", ())
    if len(offsets) == 2 and all(type(offset) is int for offset in offsets):
        by = chance.choice([-64, -2, -1, 1, 2, 64, 10**6])
        tensor["data_offsets"] = [offset + by for offset in offsets]


def _wrong_shape(header: dict[str, Any], chance: random.Random) -> None:
    length = chance.choice([0, 1, 2, 3, 33, 500])
    _any_tensor(header, chance)["shape"] = [chance.choice(_NUMBERS) for _ in range(length)]


def _wrong_dtype(header: dict[str, Any], chance: random.Random) -> None:
    _any_tensor(header, chance)["dtype"] = chance.choice([*_TEXTS, *_NUMBERS])


def _wrong_member(header: dict[str, Any], chance: random.Random) -> None:
    tensor = _any_tensor(header, chance)
    if tensor and chance.random() < 0.5:
        del tensor[chance.choice(list(tensor))]
    tensor[chance.choice(_TEXTS)] = chance.choice(_NUMBERS)


def _wrong_name(header: dict[str, Any], chance: random.Random) -> None:
    header[chance.choice(_TEXTS)] = header.pop(chance.choice(list(header)), None)


def _wrong_metadata(header: dict[str, Any], chance: random.Random) -> None:
    header["__metadata__"] = chance.choice(
        [{}, [], None, 5, "text", {"a": 1}, {"a": None}, {"a": {}}, {text: text for text in _TEXTS}]
    )


def _many_tensors(header: dict[str, Any], chance: random.Random) -> None:
    for number in range(chance.choice([10, 300, 2000])):
        header[f"t{number}"] = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}


def _deep(text: str, chance: random.Random) -> str:
    depth = chance.choice([10, 1000, 100_000])
    inner = chance.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth])
    return text[:-1] + f',"deep":{inner}' + text[-1:]


def _twice(text: str, chance: random.Random) -> str:
    at = chance.randint(0, len(text))
    return text[:at] + text[chance.randint(0, at) : chance.randint(at, len(text))] + text[at:]


def _spaced(text: str, chance: random.Random) -> str:
    return text.replace(
        chance.choice(":,{}[]"), chance.choice([" : ", "\n,", "\t{", "\u00a0", "  "]), chance.randint(1, 50)
    )


def _escaped(text: str, chance: random.Random) -> str:
    escape = chance.choice(["\\u0061", "\\ud83d\\ude00", "\\ud83d", "\\x41", "\\", '\\"', "\\u00"])
    at = chance.randint(0, len(text))
    return text[:at] + escape + text[at:]


def _padded(text: str, chance: random.Random) -> str:
    return text + chance.choice([" ", "\n", "\0", "}", "x"]) * chance.choice([1, 8, 100_000])


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randint(0, len(content))]


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 3, 50])):
        if changed:
            changed[chance.randrange(len(changed))] = chance.getrandbits(8)
    return bytes(changed)


def _inserted(content: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(content))
    return (
        content[:at]
        + chance.choice([b"\xff", b"\xc3", b"\x00", b"\xed\xa0\x80", b"\xef\xbb\xbf"])
        + content[at:]
    )


_ON_HEADERS: Sequence[Callable[[dict[str, Any], random.Random], None]] = (
    _wrong_offsets,
    _moved_offsets,
    _wrong_shape,
    _wrong_dtype,
    _wrong_member,
    _wrong_name,
    _wrong_metadata,
    _many_tensors,
)
_ON_TEXTS: Sequence[Callable[[str, random.Random], str]] = (_deep, _twice, _spaced, _escaped, _padded)
_ON_BYTES: Sequence[Callable[[bytes, random.Random], bytes]] = (_cut, _flipped, _inserted)


def run_planned(count: int, seed: int) -> int:
    """Examines so many headers; the exit status."""
    outcomes: dict[str, int] = {}
    slowest, started = 0.0, time.monotonic()
    for number, content in zip(range(count), hostile_headers(random.Random(seed))):  # noqa: S311 - no secrets here
        before = time.process_time()
        try:
            outcome = examine(content, memory=number % MEMORY_EVERY == 0)
        except Exception as error:
            kept = Path(tempfile.mkstemp(prefix="hostile-header-", suffix=".safetensors")[1])
            kept.write_bytes(content)
            print(f"header {number} of seed {seed}: {type(error).__name__}: {error}\n  kept in {kept}")
            return 1
        if number % MEMORY_EVERY:
            slowest = max(slowest, time.process_time() - before)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(
        f"{count:,} headers in {time.monotonic() - started:.0f} s, the slowest took {slowest * 1000:.0f} ms"
    )
    for outcome, times in sorted(outcomes.items(), key=lambda item: -item[1]):
        print(f"{times:9,}  {outcome}")
    return 0


def run_guided(count: int, seed: int) -> int:
    """The same, with headers that atheris makes: it looks for those that reach new code. Ends the process."""
    import atheris

    with atheris.instrument_imports(include=["lora_resolver", "json"]):
        import lora_resolver  # noqa: F401 - imported so that it is instrumented

    with tempfile.TemporaryDirectory() as corpus:
        seeds = hostile_headers(random.Random(seed))  # noqa: S311 - no secrets here
        for number, content in zip(range(500), seeds):
            Path(corpus, str(number)).write_bytes(content)
        # libFuzzer's own limits: seconds for one input, MiB for the process with all that atheris itself takes.
        limits = [f"-runs={count}", f"-seed={seed}", "-timeout=1", "-rss_limit_mb=1024", "-max_len=200000"]
        atheris.Setup([sys.argv[0], *limits, corpus], examine)
        atheris.Fuzz()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a header broke a promise."""
    parser = argparse.ArgumentParser(description="Read hostile safetensors headers.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", action="store_true", help="let atheris make them, guided by coverage")
    options = parser.parse_args(arguments)
    return (run_guided if options.atheris else run_planned)(options.count, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
