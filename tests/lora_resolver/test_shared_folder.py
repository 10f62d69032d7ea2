"""One folder and several machines: a network share where `flock` always succeeds, so it doesn't lock anything."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.cli.upkeep.pruning import prune
from lora_resolver.records import FileRecord
from lora_resolver.transfer.download.lease import SILENT_FOR, Lease, lease_file, leased
from lora_resolver.transfer.download.partial import Facts, PartFile, TakenOver
from lora_resolver.transfer.download.pieces import Pieces
from lora_resolver.transfer.download.request import DownloadRequest
from tests.conftest import ROOT
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import quick_config

if TYPE_CHECKING:
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"

NO_LOCKS = "import fcntl\nfcntl.flock = lambda handle, what: None\n"
"""Run at Python's start, this simulates a share where every machine gets the lock."""


def refusing(number: int) -> str:
    """Run at Python's start, this simulates a share that responds with this error when a program requests a lock."""
    return f"import fcntl\ndef flock(handle, what):\n    raise OSError({number}, '')\nfcntl.flock = flock\n"


KINDS_OF_SHARES = {
    "locks that hold nobody": NO_LOCKS,
    "no lock service": refusing(errno.ENOLCK),
    "no locks at all": refusing(errno.ENOSYS),
    "locks not supported": refusing(errno.EOPNOTSUPP),
}


class Machines:
    """Programs that share one folder, each with its own state, and without a working lock between them."""

    def __init__(self, folder: Path, civitai: FaultyCivitai, locks: str = NO_LOCKS) -> None:
        self.loras = folder / "share" / "loras"
        self.loras.mkdir(parents=True)
        self._folder = folder
        self._civitai = civitai
        (folder / "no-locks").mkdir()
        (folder / "no-locks" / "sitecustomize.py").write_text(locks)

    def start(self, name: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self._folder / "no-locks"),
            "AIR_LORA_DIR": str(self.loras),
            "AIR_LORA_CIVITAI_URL": self._civitai.url,
            "AIR_LORA_CONNECTIONS": "1",
            "HOME": str(self._folder / name),
        }
        command = [sys.executable, "-m", "lora_resolver", "resolve", "--json", INK]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def delivered(self) -> list[str]:
        return [path for path in self._civitai.paths() if path.startswith("/delivery/")]


@pytest.fixture
def machines(tmp_path: Path, civitai: FaultyCivitai) -> Machines:
    return Machines(tmp_path, civitai)


def result(machine: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = machine.communicate(timeout=240)
    assert machine.returncode == 0, out + err
    (report,) = json.loads(out)
    return dict(report)


@pytest.mark.integration
@pytest.mark.parametrize("locks", KINDS_OF_SHARES.values(), ids=KINDS_OF_SHARES)
def test_machines_that_ask_at_once_make_one_download(
    tmp_path: Path, civitai: FaultyCivitai, ink: CatalogueEntry, locks: str
) -> None:
    machines = Machines(tmp_path, civitai, locks)
    civitai.faults["deliver"] = fault.slowly(100_000)  # three seconds
    reports = [result(each) for each in [machines.start(f"machine {number}") for number in range(4)]]
    assert len(machines.delivered()) == 1
    assert sorted(report["downloaded"] for report in reports) == [False, False, False, True]
    (path,) = {report["path"] for report in reports}
    assert (machines.loras / path).read_bytes() == ink.file.read_bytes()
    assert not list(machines.loras.rglob("*.air-part*"))
    assert not list(machines.loras.rglob("*.lease*"))


@pytest.mark.integration
def test_a_machine_that_sleeps_is_replaced_and_spoils_nothing_when_it_wakes(
    machines: Machines, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.slowly(100_000)
    sleeper = machines.start("sleeper")
    while not list(machines.loras.rglob("*.air-part.json")):
        time.sleep(0.05)
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        second = result(machines.start("second"))
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    first = result(sleeper)
    assert first["sha256"] == second["sha256"] == ink.sha256
    assert (machines.loras / second["path"]).read_bytes() == ink.file.read_bytes()


def part_of(folder: Path, content: bytes, sha256: str) -> PartFile:
    """A complete part file that was already hashed."""
    target = folder / "ink.safetensors"
    part = PartFile(
        DownloadRequest(FileRecord("ink.safetensors", "", len(content), sha256), target, lambda _answer: None)
    )
    part.begin(Facts(len(content)), Pieces([]))
    with part.open() as file:
        file.write(content)
        part.hashed(file)
    return part


def test_what_gets_the_name_is_what_was_hashed(tmp_path: Path) -> None:
    target = tmp_path / "ink.safetensors"
    mine = part_of(tmp_path, b"mine, and whole", "1" * 64)
    other = part_of(tmp_path, b"half of ano", "1" * 64)  # starts over with the same name
    with pytest.raises(TakenOver):
        mine.place(target, "1" * 64)
    assert not target.exists()
    other.place(target, "1" * 64)
    assert target.read_bytes() == b"half of ano"


def test_who_begins_anew_empties_no_file_that_another_writes(tmp_path: Path) -> None:
    mine = part_of(tmp_path, b"mine, and whole", "1" * 64)
    with mine.open() as file:
        part_of(tmp_path, b"half", "1" * 64)
        assert file.read() == b"mine, and whole"


def test_a_lease_is_one_holders_and_ends_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    first, second = Lease(lease_file(lock)), Lease(lease_file(lock))
    assert first.take()
    assert leased(lock)
    assert not second.take()
    first.release()
    assert not leased(lock)
    assert second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_who_wakes_does_not_write_into_the_lease_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_resolver.transfer.download.lease.BEAT_EVERY", 0.01)
    path = lease_file(tmp_path / "x.lock")
    lease = Lease(path)
    assert lease.take()
    others = f"another-machine 17 {'ab' * 8} 000000000003\n"
    aside = tmp_path / "aside"
    aside.write_text(others)
    aside.replace(path)
    assert lease._thread is not None
    lease._thread.join(60)
    assert not lease._thread.is_alive()
    lease.release()
    assert path.read_text() == others


def test_a_lease_of_a_process_that_died_here_is_taken_over_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom lora_resolver.transfer.download.lease import Lease\n"
        "assert Lease(Path(sys.argv[1])).take()\nos._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(lease_file(lock))], cwd=ROOT, check=False)
    assert lease_file(lock).exists()
    assert not leased(lock)
    lease = Lease(lease_file(lock))
    assert not lease.take(), "the first look finds it"
    assert lease.take()
    lease.release()


def test_prune_leaves_what_another_machine_downloads(config: ResolverConfig) -> None:
    folder = config.download_dir / "air" / "civitai" / "120096@135931"
    folder.mkdir(parents=True)
    (folder / "ink.safetensors.air-part").write_bytes(b"so far")
    locks = config.download_dir / "air" / ".locks"
    locks.mkdir()
    lease = locks / "civitai+120096@135931+ink.safetensors.lease"
    lease.write_text(f"another-machine 17 {'ab' * 8} 000000000003\n")
    pruned = prune(quick_config(config.download_dir))
    assert pruned.in_use == [folder / "ink.safetensors"]
    assert pruned.removed == []
    hours_ago = time.time() - 7200
    os.utime(lease, (hours_ago, hours_ago))
    assert {each.path.name for each in prune(quick_config(config.download_dir)).removed} >= {
        "ink.safetensors.air-part",
        lease.name,
    }


def test_silence_outlasts_what_network_folders_remember() -> None:
    from lora_resolver.transfer.download.lease import BEAT_EVERY

    assert SILENT_FOR >= 5 * BEAT_EVERY
