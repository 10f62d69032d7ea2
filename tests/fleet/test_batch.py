"""Batches and their parts, without Ray: allowed input, the output of an interrupted run, keys, grids, the lifeline."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from filelock import FileLock
from PIL import Image

from fleet.access import is_from_another_page, is_from_here, is_key
from fleet.batch import (
    RESULTS,
    Batch,
    BatchFailed,
    Result,
    Task,
    is_done,
    namespace_of,
    read_results,
    read_tasks,
)
from fleet.grid import draw
from fleet.keys import keys_of
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = f"000001-7-{hashlib.sha256(b'a').hexdigest()[:8]}.png"
A = {"model": "civitai:1@2", "weight": 0.5}
B = {"model": "civitai:3@4", "weight": 1}


def test_keys_go_from_the_weights_to_the_checkpoint() -> None:
    one = keys_of({"model": "m", "lora": [A, B]})
    assert one == keys_of({"model": "m", "lora": [A, B], "seed": 5, "positivePrompt": "x"})
    other = keys_of({"model": "m", "lora": [{**A, "weight": 0.7}, B]})
    assert [a == b for a, b in zip(one, other)] == [False, True, True]
    assert [a == b for a, b in zip(one, keys_of({"model": "m"}))] == [False, False, True]
    assert not set(one) & set(keys_of({"model": "n", "lora": [A, B]}))
    assert keys_of({"lora": "x", "model": 5}), "what cannot be read has keys too"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}\n{"a": ', "line 2: not valid JSON"),
        ("[1]", "line 1: list isn't a task"),
        ('{"seed": 1}\n{"CFGScale": NaN}', "line 2: not valid JSON (NaN"),
        ('{"a": ' + "[" * 200_000, "line 1: not valid JSON"),
        ('{"taskType": "imageUpload"}', "line 1: taskType 'imageUpload'"),
        ('{"taskUUID": "x"}\n\n{"taskUUID": "x"}', "line 3: taskUUID 'x' is already on line 1"),
        ("\n\n", "has no task"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(text)
    with pytest.raises(BatchFailed) as raised:
        read_tasks(file)
    assert said in str(raised.value)


def test_a_task_has_the_same_uuid_every_time(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('\ufeff{"seed": 1}\n{"seed": 1}\n', encoding="utf-8")
    first, second = read_tasks(file)
    assert [task.uuid for task in read_tasks(file)] == [first.uuid, second.uuid]
    assert first.uuid != second.uuid


def test_results_that_were_cut_off_count_for_nothing(tmp_path: Path) -> None:
    good = {"line": 1, "taskUUID": "a", "seeds": [7], "files": ["a.png"], "seconds": 1, "error": None}
    (tmp_path / RESULTS).write_text(json.dumps(good) + "\n" + json.dumps({**good, "taskUUID": "b"})[:30])
    found = read_results(tmp_path)
    assert set(found) == {"a"}
    assert not is_done(found["a"], tmp_path), "its picture is not there"
    (tmp_path / "a.png").touch()
    assert is_done(found["a"], tmp_path)


def test_a_results_file_that_ends_in_half_a_letter_can_be_resumed(tmp_path: Path) -> None:
    good = {"line": 1, "taskUUID": "a", "seeds": [7], "files": [], "seconds": 1, "error": None}
    (tmp_path / RESULTS).write_bytes(json.dumps(good).encode() + b'\n{"line": 2, "error": "caf\xc3')
    assert set(read_results(tmp_path)) == {"a"}


def test_a_folder_s_mark_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / ".batch").touch()
    name = namespace_of(tmp_path)
    assert namespace_of(tmp_path) == name
    assert [path.name for path in tmp_path.iterdir()] == [".batch"]
    (tmp_path / RESULTS).write_text("{}\n")
    (tmp_path / ".batch").write_text("")
    with pytest.raises(BatchFailed, match="damaged"):
        namespace_of(tmp_path)


def test_a_damaged_image_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("junk")
    with pytest.raises(BatchFailed, match=r"a\.png isn't a valid image.*Delete it"):
        draw([Task(1, "a", {"seed": 1})], [Result(1, "a", [7], ["a.png"])], tmp_path, "seed", "seed")


class _Endpoint(BaseHTTPRequestHandler):
    """Responds with 503, then 429, then with a picture. Records the requests."""

    asked: list[str] = []  # noqa: RUF012 - each test uses one server

    def do_POST(self) -> None:
        (task,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(task["taskUUID"])
        status = {1: 503, 2: 429}.get(len(self.asked), 200)
        port = self.server.server_address[1]
        item = {"seed": 7, "imageURL": f"http://127.0.0.1:{port}/results/x.png?q=1"}
        wrong = task.get("positivePrompt") == "wrong"
        answer = {"errors": [{"message": "No."}]} if wrong else {"data": [item]}
        self._send(400 if wrong and status == 200 else status, json.dumps(answer).encode())

    def do_GET(self) -> None:
        self._send(200, b"picture")

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    _Endpoint.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_batch_waits_where_the_endpoint_is_full_and_writes_what_failed(
    address: str, tmp_path: Path
) -> None:
    tasks = [Task(1, "a", {}), Task(2, "b", {"positivePrompt": "wrong"})]
    results = Batch(address, tmp_path, at_once=1, patience=120).run(tasks, bar=False)
    assert [(each.uuid, each.files, each.error) for each in results] == [
        ("a", [FILE], None),
        ("b", [], "No."),
    ]
    assert (tmp_path / FILE).read_bytes() == b"picture"
    again = Batch(address, tmp_path, at_once=1, patience=120).run(tasks, bar=False)
    assert [each.error for each in again] == [None, "No."]
    assert _Endpoint.asked.count("a") == 3, "not again"
    assert _Endpoint.asked.count("b") == 2, "what failed is tried again"


def test_two_batches_do_not_write_into_one_folder(address: str, tmp_path: Path) -> None:
    _Endpoint.asked = ["", ""]  # the next answer has a picture
    with FileLock(tmp_path / ".lock"), pytest.raises(BatchFailed, match="Another batch"):
        Batch(address, tmp_path).run([Task(1, "a", {})], bar=False)
    assert not (tmp_path / RESULTS).exists()
    (result,) = Batch(address, tmp_path).run([Task(1, "a", {})], bar=False)
    assert result.error is None


@pytest.mark.parametrize("endpoint", ["http://", "http://[", "ftp://x/y", "x"])
def test_an_address_that_is_none_ends_the_batch_at_once(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"seed": 1}')
    command = [sys.executable, "-m", "fleet", "batch", str(file), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--endpoint", endpoint], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "isn't a valid address" in done.stderr


def test_what_cannot_be_sent_is_not_tried_until_patience_ends(address: str, tmp_path: Path) -> None:
    with pytest.raises(BatchFailed, match="can't be sent"):
        Batch(address, tmp_path).run([Task(1, "a", {"CFGScale": float("nan")})], bar=False)


def test_a_disk_that_cannot_be_written_is_an_error_and_no_traceback(address: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"seed": 1}')
    (tmp_path / "out" / RESULTS).mkdir(parents=True)
    command = [sys.executable, "-m", "fleet", "batch", str(file), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--endpoint", address], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert str(tmp_path / "out" / RESULTS) in done.stderr


def test_the_key_goes_to_the_endpoint_alone(tmp_path: Path) -> None:
    batch = Batch("https://fleet.example/air_lora/v1", tmp_path, key="k" * 25)
    assert batch._headers("https://fleet.example/air_lora/v1/results/x.png")
    assert not batch._headers("https://elsewhere.example/x.png")


def test_a_wrong_address_ends_a_batch_and_a_missing_picture_only_its_task(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Endpoint.asked = ["served", "before"]  # skips the 503 and the 429
    monkeypatch.setattr(_Endpoint, "do_GET", lambda handler: handler._send(404, b""))
    (result,) = Batch(address, tmp_path, patience=5).run([Task(1, "a", {})], bar=False)
    assert result.error
    assert "http://127.0.0.1" in result.error
    monkeypatch.setattr(_Endpoint, "do_POST", lambda handler: handler._send(404, b"no such page"))
    with pytest.raises(BatchFailed, match="404"):
        Batch(address, tmp_path, patience=5).run([Task(1, "b", {}), Task(2, "c", {})], bar=False)


def test_tasks_of_two_files_in_one_folder_keep_their_pictures(address: str, tmp_path: Path) -> None:
    _Endpoint.asked = ["served", "before"]
    names = [
        Batch(address, tmp_path, patience=5).run([Task(1, uuid, {})], bar=False)[0].files
        for uuid in ("a", "b")
    ]
    assert names[0] != names[1]


def test_a_folder_has_uuids_of_its_own_and_a_line_more_on_top_changes_none(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"seed": 1}\n{"seed": 2, "positivePrompt": "a\u2028b"}\n', encoding="utf-8")
    one, two = (namespace_of(tmp_path / name) for name in ("one", "two"))
    assert namespace_of(tmp_path / "one") == one != two
    before = [task.uuid for task in read_tasks(file, one)]
    assert before != [task.uuid for task in read_tasks(file, two)]
    file.write_text('{"seed": 0}\n' + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert [task.uuid for task in read_tasks(file, one)][1:] == before


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--workers", "0"],
        ["run", "--port", "99999"],
        ["run", "--gpus", "nan"],
        ["run", "--hang-seconds", "-5"],
        ["batch", "tasks.jsonl", "--out", "o", "--endpoint", "127.0.0.1:8000/air_lora/v1"],
        ["batch", "tasks.jsonl", "--out", "o", "--grid", "nowhere/grid.png"],
        ["batch", "no-such-file.jsonl", "--out", "o"],
    ],
)
def test_wrong_words_are_refused_at_once(tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "fleet", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_endpoint_that_stays_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(BatchFailed, match="run the same command again"):
        Batch("http://127.0.0.1:9", tmp_path, patience=0).run([Task(1, "a", {})], bar=False)


def test_a_grid_has_a_cell_for_each_pair(tmp_path: Path) -> None:
    tasks, results = [], []
    for number, (lora, seed) in enumerate([([A], 1), ([A], 2), ([B], 1)]):
        Image.new("RGB", (64, 32), (10 * number, 0, 0)).save(tmp_path / f"{number}.png")
        tasks.append(Task(number, str(number), {"lora": lora, "seed": seed}))
        results.append(Result(number, str(number), [seed], [f"{number}.png"]))
    sheet = draw(tasks, results, tmp_path, "lora", "seed")
    assert sheet.width >= 2 * 64
    assert sheet.height >= 2 * 32
    colours = {colour for _, colour in sheet.getcolors(100_000) or ()}
    assert {(0, 0, 0), (10, 0, 0), (20, 0, 0)} <= colours
    with pytest.raises(BatchFailed):
        draw(tasks, [Result(0, "0")] * 3, tmp_path, "lora", "seed")
    with pytest.raises(BatchFailed, match="seed, lora"):
        draw(tasks, results, tmp_path, "positivePromt", "seed")
    without = [*results[:2], Result(2, "2", error="failed")]
    assert draw(tasks, without, tmp_path, "lora", "seed").width == sheet.width, "its column stays"


def test_who_may_ask() -> None:
    here = {"host": "127.0.0.1:8000"}
    assert is_from_here("127.0.0.1", here)
    assert is_from_here("::1", {"host": "[::1]:8000"})
    for client, headers in (
        ("192.0.2.7", here),
        ("127.0.0.1", {"host": "rebound.example"}),
        ("127.0.0.1", {**here, "x-forwarded-for": "192.0.2.7"}),
        ("127.0.0.1", {}),
    ):
        assert not is_from_here(client, headers)
    assert is_from_another_page({**here, "origin": "https://other.example"})
    assert not is_from_another_page({**here, "origin": "http://127.0.0.1:8000"})
    assert is_key("k" * 25, "k" * 25)
    assert not is_key("k" * 24, "k" * 24), "too short to be one"
    assert not is_key("k" * 25, "k" * 24)
    assert not is_key("", "")


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is not on Windows")
def test_what_a_worker_started_ends_with_it_however_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("import sys, time\nprint('up', sys.argv[1:], flush=True)\ntime.sleep(600)\n")
    lifeline = ROOT / "fleet" / "lifeline.py"
    starter = f"""
import subprocess, sys, time
command = [sys.executable, {str(lifeline)!r}, {str(script)!r}, "--flag"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline(), flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        pid, said = process.stdout.readline().split(" ", 1)
        assert "--flag" in said
        child = psutil.Process(int(pid))
        process.send_signal(signal.SIGKILL)
        process.wait()
        until = time.monotonic() + 120
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(0.05)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
