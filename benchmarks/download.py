"""From the command to the verified file, as complete processes on loopback: ours compared with curl and aria2c.

    a server as fast as this machine    `curl | sha256sum`, which saves nothing; and curl with all steps that ours does
    20 MB/s for each connection         `curl | sha256sum`, and aria2c with as many connections as ours

Ours calls CivitAI's API, follows its redirect, hashes, checks the header, calls fsync, and renames. The peers get the
file's direct address. AIR_LORA_BENCH_MB=64 makes all files smaller, for a quick test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.file_server import ROOT, Served, serving
from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from benchmarks.sample_files import file_of_size

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTES = int(os.environ.get("AIR_LORA_BENCH_MB", "0"))
FAST_MEGABYTES = MEGABYTES or 1024
SLOW_MEGABYTES = MEGABYTES or 512
SLOW_RATE = 20_000_000
"""Bytes per second for each connection."""
RUNS = {"fast": 5, "slow": 3}


@dataclass(frozen=True)
class Peer:
    """A bash command with the placeholders {url}, {folder}, and {sha256}. It prints the SHA-256, or fails."""

    name: str
    needs: tuple[str, ...]
    """Programs that must be on PATH."""
    command: str
    runs: int
    difference: str
    """What differs between the two programs, for the name of the row."""


FAST_PEERS = (
    Peer(
        "curl -s | sha256sum",
        ("curl", "sha256sum"),
        "curl -sf '{url}' | sha256sum",
        RUNS["fast"],
        "fast server; the peer only hashes",
    ),
    Peer(
        # openssl uses the processor's SHA-256 instructions, as ours does. Debian's sha256sum doesn't.
        "curl -s | tee FILE | openssl sha256; sync",
        ("curl", "openssl"),
        "curl -sf '{url}' | tee '{folder}/lora' | openssl sha256 && sync '{folder}/lora'",
        RUNS["fast"],
        "fast server; both hash and save",
    ),
)
SLOW_PEERS = (
    Peer(
        "curl -s | sha256sum",
        ("curl", "sha256sum"),
        "curl -sf '{url}' | sha256sum",
        2,
        "20 MB/s a connection; the peer has one",
    ),
    Peer(
        "aria2c -x4 -s4 --checksum",
        ("aria2c",),
        "aria2c -q -x4 -s4 --checksum=sha-256={sha256} -d '{folder}' '{url}' && echo {sha256}",
        RUNS["slow"],
        "20 MB/s a connection; both have four",
    ),
)


def run() -> list[BenchmarkResult]:
    """Returns a row for each server and each installed peer."""
    needed = 3 * max(FAST_MEGABYTES, SLOW_MEGABYTES) << 20
    with tempfile.TemporaryDirectory(dir=room_on_disk(needed)) as folder:
        return [
            *_against(FAST_PEERS, RUNS["fast"], FAST_MEGABYTES, None, Path(folder)),
            *_against(SLOW_PEERS, RUNS["slow"], SLOW_MEGABYTES, SLOW_RATE, Path(folder)),
        ]


def _against(
    peers: tuple[Peer, ...], runs: int, megabytes: int, rate: int | None, work: Path
) -> list[BenchmarkResult]:
    there = [peer for peer in peers if all(shutil.which(program) for program in peer.needs)]
    for peer in peers:
        if peer not in there:
            print(f"  without {peer.name}: of {', '.join(peer.needs)}, not all are on PATH")
    saved = work / "saved"
    with serving(file_of_size(work / "served.safetensors", megabytes << 20), rate=rate) as served:
        ours = _ours(served, saved, bytecode=work / "bytecode")
        _empty(saved)
        ours()  # writes the bytecode that an installed package already has
        times = race(
            {"ours": ours} | {peer.name: _theirs(peer, served, saved) for peer in there},
            {"ours": runs} | {peer.name: peer.runs for peer in there},
            lambda: _empty(saved),
        )
    return [
        lower_is_better(
            f"download {megabytes} MiB, {peer.difference}", times["ours"], times[peer.name], peer.name, "s"
        )
        for peer in there
    ]


def _ours(served: Served, folder: Path, bytecode: Path) -> Callable[[], None]:
    environment = os.environ | {
        "AIR_LORA_DIR": str(folder),
        "AIR_LORA_CIVITAI_URL": served.url,
        "AIR_LORA_OFFLINE": "0",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }
    command = [sys.executable, "-m", "lora_resolver", "resolve", "--json", served.identifier]
    return lambda: _check(command, served, environment)


def _theirs(peer: Peer, served: Served, folder: Path) -> Callable[[], None]:
    filled_in = peer.command.format(url=served.file_url, folder=folder, sha256=served.sha256)
    return lambda: _check(["bash", "-o", "pipefail", "-c", filled_in], served, dict(os.environ))


def _check(command: list[str], served: Served, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or served.sha256 not in done.stdout:
        raise RuntimeError(f"{command} failed: {done.stderr or done.stdout}")


def _empty(folder: Path) -> None:
    """Removes the previous run's file, and flushes pending writes so that they don't slow down the next run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if hasattr(os, "sync"):
        os.sync()
