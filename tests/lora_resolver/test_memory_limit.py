"""Hostile responses, files, and texts in a process that is limited to half a gigabyte."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tools.local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.local_server import Exchange

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="ulimit -v is known on Linux; the bounds are the same everywhere",
)

ROOM = 512 * 2**20

BEGIN = """
import io, json, pathlib, re, resource, struct, sys, zlib
import requests
from lora_resolver import LoraResolverError, Resolver, ResolverConfig, loras_in, read_dropped, read_pasted
from lora_resolver import read_gguf_header, read_header, read_pickle_header, read_presets
folder, address = pathlib.Path(sys.argv[1]), sys.argv[2]
config = ResolverConfig(folder / "loras", civitai_url=address, tries=1, retry_delay=0.01)
config.download_dir.mkdir()
lora = config.download_dir / "a.safetensors"
lora.write_bytes(struct.pack("<Q", 2) + b"{}")
taken = int(re.search(r"VmSize:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
def png(*chunks):
    data = b"\\x89PNG\\r\\n\\x1a\\n"
    for kind, content in chunks:
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data
def bomb(size):
    packer = zlib.compressobj(9)
    piece = b"[" * 2**20
    return b"".join([*(packer.compress(piece) for _ in range(size // 2**20)), packer.flush()])
def grow(path):
    with path.open("wb") as file:
        for _ in range(300):
            file.write(b"[" * 2**20)
try:
    WORK
except (LoraResolverError, ValueError) as error:
    print("refused:", type(error).__name__)
else:
    print("read")
"""

CASES = {
    "an answer of lists": 'Resolver(config).resolve("civitai:1@2")',
    "an answer without an end": 'Resolver(config).resolve("civitai:1@3")',
    "a search's answer of lists": 'Resolver(config).resolve("civitai:1@latest")',
    "a record of 300 MB": 'grow(config.download_dir / "a.civitai.info"); '
    'Resolver(config).local_files(["local:a.safetensors"])',
    "presets of 300 MB": 'grow(folder / "p.json"); read_presets(folder / "p.json")',
    "a header that claims 99 MB": 'lora.write_bytes(struct.pack("<Q", 99_000_000) + b"{"); read_header(lora)',
    "a header of 90 MB": 'lora.write_bytes(struct.pack("<Q", 90_000_000) + b"{" + b" " * 89_999_998 + b"}"); '
    "read_header(lora)",
    "a text that unpacks to 800 MB": 'read_dropped(io.BytesIO(png((b"zTXt", b"prompt\\0\\0" + bomb(3 * 2**28)))))',
    "a picture with a text of 50 MB": 'read_dropped(io.BytesIO(png((b"tEXt", b"workflow\\0" + b"[" * 50_000_000))))',
    "a paste of 20 MB": 'read_pasted("[" * 20_000_000)',
    "a paste of lists": 'read_pasted("[" + "[]," * 6_000_000 + "[]]")',
    "a workflow of nothing": 'loras_in(json.dumps({"nodes": [{}] * 1_000_000, "links": []}))',
    "a GGUF with 2**62 tensors": '(folder / "m.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62)); '
    'read_gguf_header(folder / "m.gguf")',
    "a pickle that asks for 2**60 bytes": '(folder / "m.pt").write_bytes(b"\\x80\\x04\\x8e" + '
    'struct.pack("<Q", 2**60) + b"x"); read_pickle_header(folder / "m.pt")',
}


class Bombs(LocalServer):
    """Answers with far more data than necessary."""

    def answer(self, exchange: Exchange) -> None:
        endless = exchange.request.path.endswith("/3")
        size = 10**12 if endless else 30_000_000
        exchange.send_head(200, {"Content-Type": "application/json", "Content-Length": size})
        piece = (b" " if endless else b"[],") * 300_000
        try:
            exchange.handler.wfile.write(b"[")
            for _ in range(size // len(piece)):
                exchange.handler.wfile.write(piece)
        except OSError:  # the client has closed the connection
            exchange.handler.close_connection = True


@pytest.fixture(scope="module")
def bombs() -> Iterator[Bombs]:
    with Bombs() as server:
        yield server


@pytest.mark.parametrize("name", CASES)
def test_half_a_gigabyte_is_enough(name: str, bombs: Bombs, tmp_path: Path) -> None:
    work = CASES[name]
    program = textwrap.dedent(BEGIN).replace("ROOM", str(ROOM)).replace("WORK", work)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), bombs.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(("read", "refused:")), done.stdout
    assert "MemoryError" not in done.stdout + done.stderr
