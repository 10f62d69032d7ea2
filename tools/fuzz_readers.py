"""Feeds hostile responses, sidecars, workflows, and pictures to everything that reads them, and reports the results.

    python -m tools.fuzz_readers --count 100000                mutations of seeds, on any machine
    python -m tools.fuzz_readers --count 100000 --atheris      guided by coverage; needs `pip install atheris`
    python -m tools.fuzz_readers sidecars pictures             some of them

A reader may raise only a LoraResolverError, with a remedy and a message that a user can read, and may not take a
second of processor time. Content that breaks these rules is written to `--keep` (default: `.runtime/fuzz`), and the
exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["READERS", "run", "seeds_of"]

MAX_SECONDS = 1.0
MAX_MESSAGE = 8000
"""The longest message for one text, in characters. It lists up to twenty errors."""

_VERSION: dict[str, Any] = {
    "id": 135931, "modelId": 120096, "name": "v1", "baseModel": "SDXL 1.0", "trainedWords": ["one", "two, three"],
    "model": {"name": "Style", "type": "LORA", "mode": None, "nsfw": False},
    "images": [{"url": "https://image.example/1.jpeg", "type": "image", "nsfwLevel": 1, "width": 8, "height": 8}],
    "files": [{
        "id": 9, "name": "a.safetensors", "type": "Model", "sizeKB": 1024.5, "primary": True,
        "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"}, "pickleScanResult": "Success",
        "hashes": {"SHA256": "A" * 64, "AutoV2": "B" * 10}, "downloadUrl": "https://civitai.com/api/download/models/1",
    }],
}  # fmt: skip
_MODEL = {"id": 120096, "name": "Style", "type": "LORA", "mode": None, "modelVersions": [_VERSION, _VERSION]}
_PROMPT = {
    "3": {"class_type": "AirLoraApply",
          "inputs": {"lora": '[{"model":"civitai:1@2","weight":0.5}]', "model": ["4", 0]}},
    "4": {"class_type": "LoraLoader",
          "inputs": {"lora_name": "a.safetensors", "strength_model": 1.0, "model": ["9", 0]}},
    "5": {"class_type": "Power Lora Loader (rgthree)",
          "inputs": {"lora_1": {"on": True, "lora": "b.safetensors", "strength": 0.5}}},
}  # fmt: skip
_CANVAS = {
    "nodes": [{"id": 1, "type": "LoraLoader", "mode": 0, "widgets_values": ["a.safetensors", 1.0, 1.0], "inputs": []}],
    "links": [], "version": 0.4, "definitions": {"subgraphs": []},
}  # fmt: skip
_SIDECARS = (".air.json", ".civitai.info", ".metadata.json", ".rgthree-info.json")
_OWN = {
    "format": 1, "identifiers": ["civitai:1@2"], "sha256": "a" * 64, "size": 1, "mtime_ns": 1, "source": "civitai",
    "record": None,
}  # fmt: skip


def _picture(texts: dict[str, str]) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))]
    chunks += [
        (b"tEXt", key.encode() + b"\0" + text.encode("latin-1", "replace")) for key, text in texts.items()
    ]
    chunks += [(b"IDAT", zlib.compress(b"\0\0\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def seeds_of(name: str) -> list[bytes]:
    """Returns valid content of one kind."""
    texts = {
        "answers": [_MODEL, _VERSION, {"items": [_MODEL], "metadata": {"nextCursor": "a"}}],
        "sidecars": [
            _VERSION, _OWN,
            {"sha256": "a" * 64, "civitai": _VERSION}, {"sha256": "a" * 64, "raw": {"civitai": _VERSION}},
        ],
        "workflows": [
            _PROMPT, _CANVAS, [{"model": "civitai:1@2", "weight": 0.5}], {"prompt": _PROMPT, "workflow": _CANVAS},
        ],
    }  # fmt: skip
    if name == "pictures":
        record = json.dumps({"version": 1, "nodes": {"3": [[{"model": "civitai:1@2", "status": "applied"}]]}})
        return [
            _picture({"prompt": json.dumps(_PROMPT), "workflow": json.dumps(_CANVAS)}),
            _picture(
                {"air_lora": record, "parameters": 'a cat <lora:a:0.7>\nSteps: 20, Lora hashes: "a: 123"'}
            ),
        ]
    return [json.dumps(text).encode() for text in texts[name]]


# ---- the readers


def _read_answer(content: bytes, _: Path) -> None:
    from lora_resolver.on_disk import civitai_json
    from lora_resolver.safe_files import parse_json

    try:
        document = parse_json(content)
    except ValueError:
        return
    if not isinstance(document, dict):
        return
    for read in (civitai_json.name, civitai_json.model_type, civitai_json.mode, civitai_json.next_cursor):
        read(document)
    civitai_json.versions(document)
    versions = [document]
    for model in (document, *civitai_json.models(document)):
        versions += civitai_json.version_documents(model)
    for version in versions:
        record = civitai_json.lora_record(version, "https://civitai.com")
        if any(file.size is not None and not 0 <= file.size < 1 << 51 for file in record.files):
            raise AssertionError("a size that no file has")


def _read_sidecar(content: bytes, folder: Path) -> None:
    from lora_resolver.model_file.trigger_words import trigger_words
    from lora_resolver.on_disk.library.sidecars import SIDECARS, claims_beside

    path = folder / "a.safetensors"
    for suffix in _SIDECARS:
        name = path.name if suffix == ".rgthree-info.json" else "a"
        (folder / (name + suffix)).write_bytes(content)
    for claim in claims_beside(path, tuple(SIDECARS)):
        claim.identifier.encode()
    for word in trigger_words((), {"ss_tag_frequency": content.decode("utf-8", "replace")}, path):
        word.encode()


def _read_workflow(content: bytes, _: Path) -> None:
    from lora_resolver.workflows.named_loras import loras_in
    from lora_resolver.workflows.pasted import read_pasted

    text = content.decode("utf-8", "replace")
    _check(loras_in(text).errors)
    _check(read_pasted(text).errors)


def _read_picture(content: bytes, _: Path) -> None:
    from lora_resolver.workflows.named_loras import loras_in
    from lora_resolver.workflows.pasted import read_dropped

    _check(loras_in(content).errors)
    _check(read_dropped(io.BytesIO(content)).errors)


def _check(errors: Any) -> None:
    for error in errors:
        if not error.message or (not str(error).isascii() and "\ud800" in str(error)):
            raise AssertionError(f"no message for a user: {str(error)[:500]!r}")
    if sum(len(str(error)) for error in errors[:20]) > MAX_MESSAGE:
        raise AssertionError(f"too long a message: {len(str(errors[0])):,} characters")


READERS: dict[str, Callable[[bytes, Path], None]] = {
    "answers": _read_answer,
    "sidecars": _read_sidecar,
    "workflows": _read_workflow,
    "pictures": _read_picture,
}

# ---- mutations

_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**53, 2**64, 10**400, 1e308, "", "²", "x" * 5000, "\u202e", "a\0b", [], {}, [[]], {"": {}},
    ["civitai:1@2"], {"id": []}, "<lora:a:0.7>", "../../etc/passwd", "C:\\x", "civitai:²@1",
)  # fmt: skip
_BYTES = (
    b"\xff",
    b"\0",
    b"[",
    b"{",
    b'"',
    b"\\ud800",
    b"]" * 50,
    b"[" * 2000,
    b"NaN",
    b"1e999",
    b",",
    b"9" * 5000,
)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Returns the content with one to four changes, to its JSON values or to its bytes."""
    if chance.random() < 0.7:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if document is not None:
            for number in range(chance.randint(1, 3)):
                document = _changed(document, chance, 2 if number else 50)
            try:
                return json.dumps(document).encode()
            except (ValueError, RecursionError):
                return content
    body = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(body))
        body[at : at + chance.choice((0, 0, 1, 2, 8, 60))] = chance.choice(_BYTES)
    return bytes(body)


def _changed(document: Any, chance: random.Random, times: int) -> Any:
    places = list(_places(document))
    if not places:
        return chance.choice(_VALUES)
    holder, key = chance.choice(places)
    what = chance.random()
    if what < 0.2:
        del holder[key]
    elif what < 0.3 and isinstance(holder, list):
        holder *= chance.choice((2, times))
    elif what < 0.4 and isinstance(holder, dict):
        holder[chance.choice(("", "id", "class_type", "inputs", "model", "lora", "²"))] = holder[key]
    else:
        holder[key] = chance.choice(_VALUES)
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    waiting, seen = [document], 0
    while waiting and seen < 5000:
        current = waiting.pop()
        pairs = (
            enumerate(current)
            if isinstance(current, list)
            else current.items()
            if isinstance(current, dict)
            else ()
        )
        for key, value in list(pairs):
            seen += 1
            yield current, key
            waiting.append(value)


# ---- the run


def try_one(name: str, content: bytes, folder: Path) -> str:
    """Describes the rule that was broken; empty if none was."""
    from lora_resolver.errors import LoraResolverError

    began = time.thread_time()
    try:
        READERS[name](content, folder)
    except LoraResolverError as error:
        if not error.remedy or len(str(error)) > MAX_MESSAGE:
            return f"no message for a user: {str(error)[:300]}"
    except Exception as error:  # every exception is a finding
        return f"{type(error).__name__}: {str(error)[:300]}"
    seconds = time.thread_time() - began
    return f"{seconds:.1f} s" if seconds > MAX_SECONDS else ""


def run(name: str, count: int, seed: int, keep: Path) -> int:
    """Reads `count` mutations, and returns how many broke a rule."""
    chance, pool, broken = random.Random(seed), seeds_of(name), 0  # noqa: S311 - no secrets
    seeds = list(pool)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            content = mutated(chance.choice(pool if chance.random() < 0.7 else seeds), chance)
            if len(content) < 100_000 and chance.random() < 0.02:
                pool[chance.randrange(len(pool))] = content  # later mutations can start from this one
            found = try_one(name, content, Path(folder))
            if found:
                broken += 1
                _keep(name, found, content, keep)
            if (number + 1) % 20_000 == 0:
                print(f"{name}: {number + 1:,}, {broken} broke a rule", flush=True)
    return broken


def _keep(name: str, found: str, content: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    path.write_bytes(content)
    print(f"{name}: {found}\n    {path}", flush=True)


def _run_atheris(name: str, count: int, keep: Path) -> None:
    """Ends the process, because the fuzzer's loop never returns."""
    import atheris  # type: ignore[import-not-found]  # not in the requirements; see the module's docstring

    with atheris.instrument_imports(include=["lora_resolver"]):
        import lora_resolver.model_file.trigger_words
        import lora_resolver.on_disk.civitai_json
        import lora_resolver.on_disk.library.sidecars
        import lora_resolver.workflows.pasted  # noqa: F401 - used by the readers
    corpus, work = Path(tempfile.mkdtemp(prefix="air-lora-corpus-")), Path(tempfile.mkdtemp())
    for number, content in enumerate(seeds_of(name)):
        (corpus / f"seed-{number}").write_bytes(content)
    done = broken = 0

    def one(content: bytes) -> None:
        nonlocal done, broken
        if done >= count:
            return
        done += 1
        found = try_one(name, content, work)
        if found:
            broken += 1
            _keep(name, found, content, keep)
        if done == count or done % 10_000 == 0:
            print(f"{name}: {done:,} led by coverage, {broken} broke a rule", flush=True)

    def mutate(content: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2:
            return mutated(content, random.Random(seed))[:max_size]  # noqa: S311 - no secrets
        changed: bytes = atheris.Mutate(content, max_size)
        return changed

    # Longer inputs are left to the other mode: even so, the fuzzer's coverage table grows to 3 GB.
    limits = [
        f"-max_len={2048 if name == 'workflows' else 8192}",
        "-timeout=20",
        "-rss_limit_mb=6000",
        f"-artifact_prefix={work}/",
    ]
    options = [f"-runs={count + 1000}", "-seed=1", "-verbosity=0", *limits]
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)],
        one,
        custom_mutator=lambda data, size, seed: mutate(data, size, seed),
    )
    atheris.Fuzz()


def main() -> int:
    """Returns 0 if everything was read, or rejected with an error."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz_readers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", choices=[[], *READERS], help="which readers (default: all)")
    parser.add_argument(
        "--count", type=int, default=100_000, help="how many texts each (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="for the same again (default: %(default)s)")
    parser.add_argument(
        "--keep", type=Path, default=Path(".runtime/fuzz"), help="where goes what breaks a rule"
    )
    parser.add_argument("--atheris", action="store_true", help="led by coverage, one reader at a time")
    arguments = parser.parse_args()
    names = arguments.names or list(READERS)
    if arguments.atheris:
        _run_atheris(names[0], arguments.count, arguments.keep)
    broken = sum(run(name, arguments.count, arguments.seed, arguments.keep) for name in names)
    print(f"{arguments.count:,} each of {', '.join(names)}: {broken} broke a rule")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
