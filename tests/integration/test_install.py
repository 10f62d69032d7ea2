"""The pack installed as users do it: the registry's package unzipped, and ComfyUI-Manager with a git address.

Each is installed into a copy of ComfyUI in its simplest form, with models and user folder inside it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, comfyui_path
from tests.integration.conftest import air
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.packing import PACK, Package, commit, package, repository, without_git
from tools.runtime import Comfyui

if TYPE_CHECKING:
    from tests.integration.stalling_server import StallingCivitai

pytestmark = pytest.mark.integration

PARTS = {
    "__init__.py",
    *("lora_resolver", "nodes"),
    *("web", "locales", "example_workflows"),
    *("pyproject.toml", "requirements.txt"),
    *("README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "docs"),
}
KINDS = {".py", ".typed", ".js", ".css", ".json", ".md", ".toml", ".txt", ".webp", ".jpg", ".png", ".svg", ""}
LARGEST_PACKAGE = 2_000_000

# What the registry's scan looks for, by the risk of a match. Its patterns for Python are also applied to JavaScript.
SCANNED = {
    "network": r"urllib3|urllib\.request|http\.client|\brequests\.\w+\(|\bsocket\.\w+\(|aiohttp\.ClientSession",
    "socket-like names": r"\.(?:connect|send)\(",
    "database": r"sqlite3\.connect",
    "dynamic import": r"import_module\(|__import__\(",
    "environment": r"os\.environ|getenv\(",
    "process": r"subprocess|os\.system|Popen\(",
    "code from text": r"(?<![.\w])(?:eval|exec)\(",
}
# Every match in the package, and the reason for it. docs/registry-review.md explains them to reviewers.
REASONS = {
    (
        "lora_resolver/identifiers/addresses.py",
        "environment",
    ): "HF_ENDPOINT, the mirror whose addresses count as Hugging Face's",
    (
        "lora_resolver/transfer/transport.py",
        "network",
    ): "the only module that talks HTTP: downloads and their checks",
    (
        "lora_resolver/transfer/address_rules.py",
        "network",
    ): "asks where a name leads before anything connects there: addresses that others send must be public",
    (
        "lora_resolver/transfer/transport.py",
        "socket-like names",
    ): "calls urllib3's own connect, then looks at the peer",
    (
        "nodes/endpoint/route.py",
        "network",
    ): "answers on a WebSocket of ComfyUI's own server, where the user switched that on",
    (
        "nodes/endpoint/route.py",
        "socket-like names",
    ): "the same: sends the answers there",
    (
        "lora_resolver/transfer/log_privacy.py",
        "network",
    ): "keeps tokens and signed addresses out of urllib3's log",
    (
        "lora_resolver/on_disk/library/index.py",
        "database",
    ): "the index of LoRA files, in ComfyUI's user folder",
    ("lora_resolver/on_disk/library/index.py", "socket-like names"): "sqlite3.connect, as above",
    (
        "lora_resolver/__init__.py",
        "dynamic import",
    ): "imports the package's own modules when they are first used",
    (
        "lora_resolver/cli/__init__.py",
        "dynamic import",
    ): "imports the sub-command that was asked for",
    (
        "nodes/server/routes/__init__.py",
        "dynamic import",
    ): "imports a route's own module when it is first asked",
    (
        "lora_resolver/settings/settings_file.py",
        "environment",
    ): "the settings that a user gives by environment",
    ("nodes/server/settings.py", "environment"): "likewise, inside ComfyUI",
}

NOT_OURS = re.compile(r"/__pycache__/|^ComfyUI/(custom_nodes/air-lora/|comfyui\.log$|temp/)")
"""Bytecode, the pack itself, the log of these tests, and the folder that ComfyUI empties."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return package(repository(tmp_path_factory.mktemp("packed")), tmp_path_factory.mktemp("home"))


def test_every_place_that_the_registry_s_scan_hits_has_a_reason(packed: Package) -> None:
    found = set()
    with zipfile.ZipFile(packed.file) as archive:
        for name in archive.namelist():
            if name.endswith((".py", ".js")):
                text = archive.read(name).decode()
                found |= {(name, kind) for kind, pattern in SCANNED.items() if re.search(pattern, text)}
    assert found - set(REASONS) == set(), (
        "take it out, or say in REASONS and docs/registry-review.md why it is needed"
    )
    assert set(REASONS) - found == set(), "these are gone: take them out of REASONS"
    page = (ROOT / "docs" / "registry-review.md").read_text(encoding="utf-8")
    assert [name for name, _kind in REASONS if f"`{name}`" not in page] == []


@pytest.fixture
def comfyui(python_of_comfyui: Path, tmp_path: Path) -> Comfyui:
    """A new, unpacked copy of ComfyUI."""
    source = comfyui_path()

    def left_out(folder: str, names: list[str]) -> set[str]:
        mine = {"models", "user", "output", "input", "temp", ".git"} if Path(folder) == source else set()
        return mine.intersection(names) | {"__pycache__"}

    copy = Path(shutil.copytree(source, tmp_path / "ComfyUI", ignore=left_out))
    return Comfyui(copy, python_of_comfyui, own=False)


def started(comfyui: Comfyui, **environment: str) -> ComfyProcess:
    return ComfyProcess(comfyui, comfyui.path, environment=environment, link=False)


def nodes_of_the_pack(client: ComfyClient) -> set[str]:
    described = client.get("/object_info")
    return {node for node, facts in described.items() if facts["python_module"] == f"custom_nodes.{PACK}"}


def all_nodes(pack: Path) -> set[str]:
    """The IDs of all nodes. Every node has a help page."""
    return {page.stem for page in (pack / "web" / "docs").glob("*.md")}


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=240) as answer:
        return bytes(answer.read())


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below the folder, with its size and modification time."""
    files = (path for path in folder.rglob("*") if path.is_file())
    described = {path.relative_to(folder).as_posix(): path.stat() for path in files}
    return {
        name: (stat.st_size, stat.st_mtime_ns)
        for name, stat in described.items()
        if not NOT_OURS.search(name)
    }


def test_the_registry_s_own_checks_have_nothing_to_say(packed: Package) -> None:
    assert "All validation checks passed successfully" in packed.said
    assert "Created zip file" in packed.said
    assert not re.search(r"warn|error|not found|deprecat", packed.said, re.IGNORECASE), packed.said


def test_the_package_holds_what_a_user_needs_and_no_more(packed: Package) -> None:
    source = packed.file.parent
    with zipfile.ZipFile(packed.file) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
    assert {name.parts[0] for name in names} == PARTS
    assert {name.suffix for name in names} <= KINDS
    assert packed.file.stat().st_size < LARGEST_PACKAGE
    for folder in ("lora_resolver", "nodes", "web", "locales", "example_workflows"):
        files = (path for path in (source / folder).rglob("*") if path.is_file())
        there = {PurePosixPath(path.relative_to(source).as_posix()) for path in files}
        assert there <= set(names), f"files of {folder} are missing from the package"


def test_the_package_unzipped_is_the_whole_pack_and_writes_where_it_may(
    packed: Package, comfyui: Comfyui, civitai: StallingCivitai, tmp_path: Path
) -> None:
    source = packed.file.parent
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    places = {"HOME": home, "USERPROFILE": home, "TMPDIR": temporary, "TEMP": temporary, "TMP": temporary}
    settings = {"AIR_LORA_CIVITAI_URL": civitai.url, "HF_TOKEN": "", **{k: str(v) for k, v in places.items()}}
    with started(comfyui, **settings):
        pass  # creates what ComfyUI itself creates at its first start
    before = tree(tmp_path)
    with zipfile.ZipFile(packed.file) as archive:
        archive.extractall(comfyui.path / "custom_nodes" / PACK)

    with started(comfyui, **settings) as process:
        client = ComfyClient(process.url)
        assert nodes_of_the_pack(client) == all_nodes(source)
        for file in (path for path in (source / "web").rglob("*") if path.is_file()):
            name = urllib.parse.quote(file.relative_to(source / "web").as_posix())
            assert fetched(f"{process.url}/extensions/{PACK}/{name}") == file.read_bytes()
        assert set(client.get("/i18n")["en"]["nodeDefs"]) >= all_nodes(source)
        examples = {path.stem for path in (source / "example_workflows").glob("*.json")}
        assert set(client.get("/workflow_templates")[PACK]) == examples

        workflow = {
            "lora": {"class_type": "AirLoraResolve", "inputs": {"identifier": air(101)}},
            "shown": {"class_type": "PreviewAny", "inputs": {"source": ["lora", 0]}},
        }
        name = client.run(workflow, seconds=280).outputs["shown"]["text"][0]
        assert name in client.get("/models/loras")
        client.post("/air_lora/presets", {"name": "mine", "lora": "[]"})
        client.post("/air_lora/info", {"models": [air(102)]})
        log = process.log.read_text(encoding="utf-8", errors="replace")

    times = re.findall(rf"^.*\d seconds.*{PACK}$", log, re.MULTILINE)
    assert len(times) == 1
    assert "FAILED" not in times[0]
    after = tree(tmp_path)
    changed = {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}
    written = {file.removeprefix("ComfyUI/") for file in changed}
    assert f"models/loras/{Path(name).as_posix()}" in written
    elsewhere = {file for file in written if not file.startswith(("models/loras/", "user/"))}
    assert not elsewhere, "the pack wrote outside the loras and the user folder"


def manager(comfyui: Comfyui, *arguments: str) -> str:
    """Runs one command of ComfyUI-Manager's cm-cli."""
    done = subprocess.run(
        [sys.executable, "-m", "cm_cli", *arguments],
        env={**without_git(), "COMFYUI_PATH": str(comfyui.path), "PYTHONIOENCODING": "utf-8"},
        cwd=comfyui.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def git_address(folder: Path) -> str:
    """The only form of a local address that Manager accepts: with a host."""
    return "file://localhost/" + urllib.parse.quote(folder.resolve().as_posix().lstrip("/"), safe="/:")


def test_manager_installs_updates_disables_enables_and_removes_it(comfyui: Comfyui, tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    custom_nodes = comfyui.path / "custom_nodes"
    before = set(custom_nodes.iterdir())
    installed = custom_nodes / PACK

    said = manager(comfyui, "install", git_address(source))
    assert "[INSTALLED]" in said
    assert "Successfully installed" not in said, "a package came with it that ComfyUI did not have"
    assert set(custom_nodes.iterdir()) - before == {installed}
    with started(comfyui) as process:
        assert nodes_of_the_pack(ComfyClient(process.url)) == all_nodes(source)

    (source / "CHANGELOG.md").write_text("# 9.9.9: news\n", encoding="utf-8")
    commit(source, "News")
    manager(comfyui, "update", PACK)
    assert (installed / "CHANGELOG.md").read_text(encoding="utf-8") == "# 9.9.9: news\n"

    assert "[DISABLED]" in manager(comfyui, "disable", PACK)
    assert not installed.exists()
    assert "[ENABLED]" in manager(comfyui, "enable", PACK)
    assert (installed / "__init__.py").is_file()
    assert "[UNINSTALLED]" in manager(comfyui, "uninstall", PACK)
    assert not installed.exists()
