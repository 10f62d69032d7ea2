"""Downloads by several processes, downloads that are killed, and downloads that don't fit on the disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.errors import LoraResolverError, StorageFailed
from lora_resolver.resolver import Resolver
from lora_resolver.transfer.download.partial import read_progress
from tests.conftest import ROOT
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from lora_resolver.records import Progress
    from tests.lora_resolver.civitai_faults import Exchange, FaultyCivitai
    from tools.civitai_server import CatalogueEntry

pytestmark = pytest.mark.integration  # they start processes, or wait for a stalled server

INK = "civitai:120096@135931"
SIZE = 300_000

CHILD = """
import json, os, sys
from pathlib import Path
from lora_resolver import LoraResolverError, Resolver, ResolverConfig
settings = json.loads(sys.argv[1])
settings["search_dirs"] = tuple(Path(each) for each in settings["search_dirs"])
settings["state_dir"] = Path(settings["state_dir"])
config = ResolverConfig(**settings)
phases = []
def watch(progress):
    phases.append([progress.phase, progress.done, progress.total])
    if progress.phase == "wait":
        Path(sys.argv[3], str(os.getpid())).touch()
try:
    lora = Resolver(config).resolve_all([sys.argv[2]], on_progress=watch)[0]
    print(json.dumps({"path": str(lora.path), "downloaded": lora.downloaded, "sha256": lora.sha256, "phases": phases}))
except LoraResolverError as error:
    print(json.dumps({"error": error.code, "text": str(error)}))
"""


class Children:
    """Processes that resolve. Those still running at the end of a test are killed."""

    def __init__(self, config: ResolverConfig) -> None:
        settings = {
            **asdict(config),
            "download_dir": str(config.download_dir),
            "state_dir": str(config.state),
        }
        settings["search_dirs"] = [str(folder) for folder in config.search_dirs]
        self._settings = json.dumps(settings)
        self._marks = config.download_dir.with_name("waiting")
        self._marks.mkdir()
        self._started: list[subprocess.Popen[str]] = []

    def start(self, identifier: str = INK, *, before: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", before + CHILD, self._settings, identifier, str(self._marks)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._started.append(child)
        return child

    def waiting(self) -> int:
        """How many of them have waited for another's download so far."""
        return len(list(self._marks.iterdir()))

    @staticmethod
    def result(child: subprocess.Popen[str]) -> dict[str, Any]:
        out, error = child.communicate(timeout=240)
        assert error == ""
        answer: dict[str, Any] = json.loads(out)
        return answer

    def end(self) -> None:
        for child in self._started:
            if child.poll() is None:
                child.kill()
            child.communicate()


@pytest.fixture
def children(config: ResolverConfig) -> Iterator[Children]:
    started = Children(config.with_changes(read_timeout=240.0))
    yield started
    started.end()


class Tap:
    """Delivers only a number of a file's bytes, counted over all responses, and then nothing until it is opened."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()
        self.dry = threading.Event()
        self.sent = 0

    def __call__(self, server: FaultyCivitai, exchange: Exchange) -> bool:
        def send_range(file: Any, start: int, end: int) -> None:
            file.seek(start)
            with self._lock:
                count = min(self._left, end - start)
                self._left -= count
                self.sent += count
            exchange.handler.wfile.write(file.read(count))
            if count < end - start:
                exchange.handler.wfile.flush()
                self.dry.set()
                server.free.wait(240)
                exchange.handler.close_connection = True

        exchange.send_range = send_range  # type: ignore[method-assign]
        return False


def asked_for(civitai: FaultyCivitai, since: int) -> int:
    """The bytes of the file that were requested after the first `since` requests."""
    total = 0
    for request in civitai.requests[since:]:
        if request.path.startswith("/delivery/"):
            start, _, end = request.headers.get("range", f"bytes=0-{SIZE}")[6:].partition("-")
            total += int(end) - int(start) + 1
    return total


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def until_most_is_recorded(config: ResolverConfig) -> None:
    """Waits for the record of the received bytes, which is written twice a second."""
    target = config.download_dir / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    until(lambda: (read_progress(target) or (0, 0))[0] >= 200_000)


@pytest.mark.parametrize("count", [0, 1, 7, 39_999, 40_000, 123_456, 250_001, SIZE])
def test_a_process_that_is_killed_at_any_byte_leaves_nothing_wrong(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, children: Children, count: int
) -> None:
    tap = Tap(count)
    civitai.faults["deliver"] = tap
    child = children.start()
    assert tap.dry.wait(120)
    if count > 200_000:
        until_most_is_recorded(config)
    else:
        time.sleep(0.05)
    child.kill()
    child.wait()
    target = config.download_dir / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    assert not target.exists()
    civitai.faults.clear()
    civitai.free.set()
    before = len(civitai.requests)
    lora = Resolver(config).resolve(INK)
    assert lora.path == target
    assert lora.path.read_bytes() == ink.file.read_bytes()
    if count > 200_000:
        assert asked_for(civitai, before) < SIZE - 100_000, "what was there is not asked for again"
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "ink.air.json",
        "ink.civitai.info",
        "ink.preview.png",
        "ink.safetensors",
    ]


def test_the_file_is_never_there_before_it_is_whole(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.slowly(100_000)
    target = config.download_dir / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            if target.exists():
                seen.add(target.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    Resolver(config).resolve(INK)
    time.sleep(0.01)
    done.set()
    watcher.join()
    assert seen <= {ink.file.stat().st_size}


def test_one_download_for_several_processes_and_those_that_wait_see_it_grow(
    civitai: FaultyCivitai, ink: CatalogueEntry, children: Children
) -> None:
    def slowly_once_the_others_wait(server: FaultyCivitai, exchange: Exchange) -> bool:
        until(lambda: children.waiting() == 2)
        return fault.slowly(15_000)(server, exchange)

    civitai.faults["deliver"] = slowly_once_the_others_wait
    started = [children.start() for _ in range(3)]
    results = [Children.result(child) for child in started]
    assert {result["sha256"] for result in results} == {ink.sha256}
    assert sorted(result["downloaded"] for result in results) == [False, False, True]
    assert asked_for(civitai, 0) == ink.file.stat().st_size
    for result in results:
        if not result["downloaded"]:
            waited = [done for phase, done, _ in result["phases"] if phase == "wait"]
            assert len(set(waited)) > 2, "progress of the one who downloads"


def test_one_download_for_several_threads(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.slowly(200_000)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(Resolver(config).resolve(INK).downloaded))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]
    assert asked_for(civitai, 0) == ink.file.stat().st_size


def test_who_waits_takes_over_from_one_that_is_killed(
    civitai: FaultyCivitai, ink: CatalogueEntry, children: Children
) -> None:
    tap = Tap(150_000)
    civitai.faults["deliver"] = tap
    first = children.start()
    assert tap.dry.wait(120)
    second = children.start()
    until(lambda: children.waiting() == 1)
    civitai.faults.clear()
    os.kill(first.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    result = Children.result(second)
    assert (result["downloaded"], result["sha256"]) == (True, ink.sha256)
    assert "wait" in {phase for phase, _, _ in result["phases"]}


def test_several_ranges_at_once_and_one_where_the_user_says_so(
    config: ResolverConfig, civitai: FaultyCivitai
) -> None:
    at_once, most, lock = [0], [0], threading.Lock()

    def count(_: FaultyCivitai, exchange: Exchange) -> bool:
        def send_range(file: Any, start: int, end: int) -> None:
            with lock:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            time.sleep(0.5)
            file.seek(start)
            with lock:
                at_once[0] -= 1
            exchange.handler.wfile.write(file.read(end - start))

        exchange.send_range = send_range  # type: ignore[method-assign]
        return False

    civitai.faults["deliver"] = count
    Resolver(config).resolve(INK)
    assert 2 <= most[0] <= 4
    most[0] = 0
    Resolver(config.with_changes(connections=1)).resolve("civitai:120096@140000")
    assert most[0] == 1


def test_a_signed_address_that_expires_in_the_middle_is_asked_for_again(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    answered: list[str] = []

    def expire(server: FaultyCivitai, exchange: Exchange) -> bool:
        answered.append(exchange.request.query["signature"])
        if len(answered) == 3:
            server._signatures.clear()
        return False

    civitai.faults["deliver"] = expire
    lora = Resolver(config.with_changes(connections=1)).resolve(INK)
    assert lora.sha256 == ink.sha256
    assert len(set(answered)) > 1


def test_a_file_that_changed_between_two_runs_is_fetched_anew(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, children: Children
) -> None:
    tap = Tap(250_000)
    civitai.faults["deliver"] = tap
    child = children.start()
    assert tap.dry.wait(120)
    until_most_is_recorded(config)
    child.kill()
    child.wait()
    civitai.faults.clear()
    civitai.free.set()
    write_safetensors(ink.file, SIZE, seed=77)
    del ink.__dict__["sha256"]
    lora = Resolver(config).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()
    assert lora.sha256 == ink.sha256


def test_a_part_that_was_damaged_meanwhile_is_found_out(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, children: Children
) -> None:
    tap = Tap(250_000)
    civitai.faults["deliver"] = tap
    child = children.start()
    assert tap.dry.wait(120)
    until_most_is_recorded(config)
    child.kill()
    child.wait()
    civitai.faults.clear()
    civitai.free.set()
    part = next(config.download_dir.rglob("*.air-part"))
    content = bytearray(part.read_bytes())
    content[1000:1100] = bytes(100)
    part.write_bytes(content)
    assert Resolver(config).resolve(INK).sha256 == ink.sha256


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits on the size of a process's files")
def test_a_file_that_the_system_does_not_let_grow(
    config: ResolverConfig, children: Children, ink: CatalogueEntry
) -> None:
    result = Children.result(children.start(before=LIMITED))
    assert result["error"] == "storageFailed"
    assert not list(config.download_dir.rglob("*.safetensors"))
    assert Resolver(config).resolve(INK).sha256 == ink.sha256


def test_a_disk_without_room_is_known_before_the_download(
    config: ResolverConfig, civitai: FaultyCivitai, small_disk: Path
) -> None:
    with pytest.raises(StorageFailed, match="bytes are needed, and ") as caught:
        Resolver(config.with_changes(download_dir=small_disk, search_dirs=())).resolve(INK)
    assert caught.value.code == "diskFull"
    assert asked_for(civitai, 0) < SIZE
    assert not list(small_disk.rglob("*.safetensors"))


def test_a_disk_that_fills_up_meanwhile(
    config: ResolverConfig, civitai: FaultyCivitai, small_disk: Path, tmp_path: Path
) -> None:
    full = config.with_changes(download_dir=small_disk, search_dirs=())
    smaller = write_safetensors(tmp_path / "served" / "ink.safetensors", 120_000)
    tap = Tap(60_000)
    civitai.faults["deliver"] = tap

    def fill() -> None:
        assert tap.dry.wait(120)
        with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(1024)):
                pass
        civitai.faults.clear()
        civitai.free.set()

    filling = threading.Thread(target=fill)
    filling.start()
    with pytest.raises(StorageFailed) as caught:
        Resolver(full.with_changes(read_timeout=120.0)).resolve(INK)
    filling.join()
    assert caught.value.code == "diskFull"
    assert not list(small_disk.rglob("*.safetensors"))
    (small_disk / "filler").unlink()
    assert Resolver(full).resolve(INK).path.read_bytes() == smaller.read_bytes()


def test_a_download_that_is_cancelled_again_and_again_gets_there(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.slowly(30_000)

    def cancel(progress: Progress) -> None:
        if progress.phase == "download" and progress.done >= marks[-1] + 60_000:
            marks.append(progress.done)
            raise KeyboardInterrupt

    marks = [0]
    for _ in range(20):
        try:
            lora = Resolver(config).resolve(INK, on_progress=cancel)
            break
        except KeyboardInterrupt:
            continue
        except LoraResolverError:
            raise
    assert lora.sha256 == ink.sha256
    assert marks == sorted(marks)
    assert len(marks) > 2
