"""Workers that share a store in S3. Each is a separate process, and so is the store's server, which can be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tests.lora_resolver.s3_server import BUCKET, SECRET, S3Server, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

pytestmark = pytest.mark.integration

INK = "civitai:120096@135931"
TOKEN = "a-civitai-token-nobody-may-see"
STORE = f"s3://{BUCKET}/loras"


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


class Workers:
    """Machines that share only the store."""

    def __init__(self, folder: Path, civitai: FaultyCivitai, s3: S3Server) -> None:
        self.folder = folder
        self.civitai = civitai
        self.s3 = s3
        self.printed = ""

    def start(
        self, name: str, *arguments: str, port: int | None = None, **settings: str
    ) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            **self.s3.environment(port),
            "AIR_LORA_DIR": str(self.folder / name / "loras"),
            "AIR_LORA_CIVITAI_URL": self.civitai.url,
            "AIR_LORA_STORE": STORE,
            "CIVITAI_API_TOKEN": TOKEN,
            "HOME": str(self.folder / name),
            **settings,
        }
        command = [sys.executable, "-m", "lora_resolver", *(arguments or ("resolve", "--json", INK))]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def result(self, worker: subprocess.Popen[str]) -> dict[str, Any]:
        """Returns its report, and stores its error output in `printed`. Neither contains a secret."""
        out, err = worker.communicate(timeout=240)
        assert SECRET not in out + err
        assert TOKEN not in out + err
        self.printed = err
        (report,) = json.loads(out)
        return dict(report)

    def run(self, name: str, *, port: int | None = None, **settings: str) -> dict[str, Any]:
        return self.result(self.start(name, port=port, **settings))

    def delivered(self) -> int:
        return len([path for path in self.civitai.paths() if path.startswith("/delivery/")])


@pytest.fixture
def workers(tmp_path: Path, civitai: FaultyCivitai, s3: S3Server) -> Workers:
    return Workers(tmp_path, civitai, s3)


def test_the_first_worker_fills_it_and_the_second_needs_no_civitai(
    workers: Workers, ink: CatalogueEntry
) -> None:
    first = workers.run("first")
    assert (first["error"], first["from_store"], first["warnings"]) == (None, False, [])
    asked = len(workers.civitai.requests)
    second = workers.run("second", AIR_LORA_OFFLINE="1", CIVITAI_API_TOKEN="")
    assert second["error"] is None
    assert (second["from_store"], second["downloaded"], second["source"]) == (True, True, "civitai")
    assert second["sha256"] == first["sha256"] == ink.sha256
    assert second["trigger_words"] == first["trigger_words"] == ["ink", "pen drawing"]
    assert len(workers.civitai.requests) == asked, "it asked the store alone"
    file = workers.folder / "second" / "loras" / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    assert str(file) == second["path"]
    assert file.read_bytes() == ink.file.read_bytes()
    assert file.with_suffix(".civitai.info").is_file()
    assert file.with_suffix(".preview.png").is_file()
    assert json.loads(file.with_suffix(".air.json").read_bytes())["sha256"] == ink.sha256


def test_a_worker_that_has_it_asks_nobody(workers: Workers) -> None:
    workers.run("first")
    workers.s3.kill()
    workers.civitai.requests.clear()
    again = workers.run("first")
    assert (again["error"], again["downloaded"], again["warnings"]) == (None, False, [])
    assert workers.civitai.requests == []


def test_nothing_in_the_store_is_a_token_or_a_place_on_a_disk(workers: Workers) -> None:
    workers.run("first")
    for key in workers.s3.objects():
        content = workers.s3.get(f"/{BUCKET}/{key}")
        for private in (TOKEN, SECRET, str(workers.folder)):
            assert private.encode() not in content, key


def test_a_damaged_file_is_refused_and_mended_from_civitai(workers: Workers, ink: CatalogueEntry) -> None:
    workers.run("first")
    (key,) = [each for each in workers.s3.objects() if each.endswith(".safetensors")]
    sound = workers.s3.get(f"/{BUCKET}/{key}")
    workers.s3.put(f"/{BUCKET}/{key}", sound[:-1] + b"?")
    second = workers.run("second")
    assert (second["error"], second["from_store"], second["sha256"]) == (None, False, ink.sha256)
    assert "damaged" in " ".join(second["warnings"])
    assert "damaged" in workers.printed
    assert workers.s3.get(f"/{BUCKET}/{key}") == sound
    assert workers.run("third")["from_store"] is True


def test_a_damaged_file_and_no_civitai_is_an_error_that_says_both(workers: Workers) -> None:
    workers.run("first")
    (key,) = [each for each in workers.s3.objects() if each.endswith(".safetensors")]
    workers.s3.put(f"/{BUCKET}/{key}", b"nonsense")
    second = workers.run("second", AIR_LORA_OFFLINE="1")
    assert second["error"]["code"] == "offline"
    assert "damaged" in second["error"]["message"]
    assert not list((workers.folder / "second").rglob("ink.safetensors*"))


def test_the_server_dies_while_a_worker_reads(workers: Workers, ink: CatalogueEntry) -> None:
    workers.run("first")
    with Wire(workers.s3.port, workers.s3.kill, down=100_000) as wire:
        second = workers.run("second", port=wire.port)
        assert wire.was_cut.is_set()
    assert (second["error"], second["from_store"], second["sha256"]) == (None, False, ink.sha256)
    assert "can't be reached" in " ".join(second["warnings"])
    assert "can't be reached" in workers.printed
    assert workers.delivered() > 0
    left = {path.name for path in (workers.folder / "second" / "loras").rglob("*.tmp")}
    assert left == set()


def test_the_server_dies_while_a_worker_fills_it(workers: Workers, ink: CatalogueEntry) -> None:
    with Wire(workers.s3.port, workers.s3.kill, up=100_000) as wire:
        first = workers.run("first", port=wire.port)
        assert wire.was_cut.is_set()
    assert (first["error"], first["from_store"], first["sha256"]) == (None, False, ink.sha256)
    assert first["warnings"]


def test_a_connection_that_breaks_while_it_is_filled_leaves_nothing_half(
    workers: Workers, ink: CatalogueEntry
) -> None:
    with Wire(workers.s3.port, lambda: None, up=100_000) as wire:
        workers.run("first", port=wire.port)
        assert wire.was_cut.is_set()
    sizes = [
        len(workers.s3.get(f"/{BUCKET}/{key}"))
        for key in workers.s3.objects()
        if key.endswith(".safetensors")
    ]
    assert set(sizes) <= {ink.file.stat().st_size}


def test_a_server_that_answers_nothing_costs_a_bounded_time(workers: Workers, ink: CatalogueEntry) -> None:
    workers.run("first")
    os.kill(workers.s3.process.pid, signal.SIGSTOP)
    second = workers.run("second")
    assert (second["error"], second["sha256"]) == (None, ink.sha256)
    assert "doesn't respond" in " ".join(second["warnings"])


def test_a_store_that_is_not_there_is_said_and_civitai_asked(workers: Workers, ink: CatalogueEntry) -> None:
    first = workers.run("first", AIR_LORA_STORE="s3://no-such-bucket/loras")
    assert (first["error"], first["sha256"]) == (None, ink.sha256)
    assert "no-such-bucket" in " ".join(first["warnings"])


def test_a_worker_killed_while_it_fills_the_store_leaves_nothing_half(
    workers: Workers, ink: CatalogueEntry
) -> None:
    stuck: list[subprocess.Popen[str]] = []
    with Wire(workers.s3.port, lambda: stuck[0].kill(), up=100_000) as wire:
        stuck.append(workers.start("first", port=wire.port))
        stuck[0].communicate(timeout=240)
        assert wire.was_cut.is_set()
    assert not [key for key in workers.s3.objects() if "/names/" in key]
    second = workers.run("second")
    assert (second["error"], second["from_store"]) == (None, False)
    (key,) = [each for each in workers.s3.objects() if each.endswith(".safetensors")]
    assert workers.s3.get(f"/{BUCKET}/{key}") == ink.file.read_bytes()


def test_workers_that_start_at_once_agree(workers: Workers, ink: CatalogueEntry) -> None:
    started = [workers.start(f"worker {number}") for number in range(3)]
    reports = [workers.result(each) for each in started]
    assert {report["sha256"] for report in reports} == {ink.sha256}
    assert [report["warnings"] for report in reports] == [[], [], []]
    assert workers.run("late", AIR_LORA_OFFLINE="1")["from_store"] is True


def test_cancelling_while_the_store_is_silent_takes_no_longer(workers: Workers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(120)
        worker = workers.start("first", port=silent.getsockname()[1])
        asking, _ = silent.accept()
        with asking:
            asking.settimeout(120)
            assert asking.recv(1), "the worker asks, and nobody answers"
            worker.send_signal(signal.SIGINT)
            worker.communicate(timeout=120)
    assert worker.returncode == 130


def test_not_even_a_log_of_everything_has_what_requests_are_signed_with(workers: Workers) -> None:
    code = (
        "import logging, sys\nlogging.basicConfig(level=logging.DEBUG)\n"
        "from lora_resolver.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    session = "a-session-token-nobody-may-see"
    for name in ("first", "second"):
        environment = {
            **os.environ,
            **workers.s3.environment(),
            "AWS_SESSION_TOKEN": session,
            "AIR_LORA_DIR": str(workers.folder / name / "loras"),
            "AIR_LORA_CIVITAI_URL": workers.civitai.url,
            "AIR_LORA_STORE": STORE,
            "CIVITAI_API_TOKEN": TOKEN,
        }
        done = subprocess.run(
            [sys.executable, "-c", code, "resolve", "--json", INK],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        (report,) = json.loads(done.stdout)
        assert report["from_store"] is (name == "second")
        assert "DEBUG" in done.stderr
        for private in (SECRET, session, TOKEN, "Signature="):
            assert private not in done.stdout + done.stderr
