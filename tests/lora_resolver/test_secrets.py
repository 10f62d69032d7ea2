"""Tokens and signatures: in every case, none is logged, raised, shown, stored, or sent to another host.

Every run below has a token for each service. Afterwards, everything that it left is searched for the tokens, and for
the signatures of the services' temporary addresses.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.errors import LoraResolverError, SeveralErrors
from lora_resolver.resolver import Resolver
from lora_resolver.settings.settings_file import SETTINGS_FILE
from tests.conftest import ROOT
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.huggingface_server import HuggingFaceServer, Repository
from tools.local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from tests.lora_resolver.civitai_faults import Exchange, FaultyCivitai
    from tools.local_server import Request

pytestmark = pytest.mark.integration  # they start processes, or wait for a stalled server

CIVITAI_TOKEN = "civitai-token-4d1f0e63a8b7"
HF_TOKEN = "hf_tokenOfTheTests0123456789"
OTHER_SIGNATURE = "signature-of-a-refused-address-77aa"
INK = "civitai:120096@135931"
ON_HUB = "huggingface:ink-org/ink-lora@main/weights/ink.safetensors"


class Elsewhere(LocalServer):
    """Another host that a service redirects to. It serves one file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def answer(self, exchange: Exchange) -> None:
        exchange.send_file(self.file, etag='"elsewhere"')


class BadHub(HuggingFaceServer):
    """A Hub that answers with `status`, if it is set."""

    status = 0

    def answer(self, exchange: Exchange) -> None:
        if self.status:
            exchange.send_json({"error": "no"}, self.status)
        else:
            super().answer(exchange)


@dataclass(frozen=True)
class World:
    """All servers, the resolver's configuration, and the folder where it stores everything."""

    civitai: FaultyCivitai
    hub: BadHub
    elsewhere: Elsewhere
    config: ResolverConfig
    folder: Path

    def secrets(self) -> list[str]:
        """Texts that must not be found anywhere."""
        signatures = [*self.civitai._signatures, *self.hub._signatures]
        return [CIVITAI_TOKEN, HF_TOKEN, OTHER_SIGNATURE, *signatures]

    def environment(self) -> dict[str, str]:
        """The environment of the command line, with only the variables that a process needs."""
        kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "TEMP") if key in os.environ}
        return {
            **kept,
            "HOME": str(self.folder / "home"),
            "USERPROFILE": str(self.folder / "home"),
            "AIR_LORA_DIR": str(self.config.download_dir),
            "AIR_LORA_CIVITAI_URL": self.civitai.url,
            "HF_ENDPOINT": self.hub.url,
            # The storage's host must be configured in some setting, because it is on loopback.
            "AIR_LORA_ARCHIVE": "http://localhost:9",
            "AIR_LORA_SETTINGS": str(self.folder / SETTINGS_FILE),
            "CIVITAI_API_TOKEN": CIVITAI_TOKEN,
            "HF_TOKEN": HF_TOKEN,
        }


@pytest.fixture
def world(civitai: FaultyCivitai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    import huggingface_hub.constants

    folder = tmp_path / "kept"
    (folder / "home").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub-cache"))
    civitai.token = CIVITAI_TOKEN
    ink = write_safetensors(tmp_path / "served" / "ink.safetensors", 300_000)
    repositories = [
        Repository("ink-org/ink-lora", {"weights/ink.safetensors": ink}, private=True),
        Repository("ink-org/gated", {"ink.safetensors": ink}, gated=True),
    ]
    with BadHub(repositories, token=HF_TOKEN) as hub, Elsewhere(ink) as elsewhere:
        # "localhost" is the storage's host, different from the Hub's. It is configured, because loopback requires it.
        config = quick_config(
            folder / "loras",
            civitai_url=civitai.url,
            hf_endpoint=hub.url,
            archive_url="http://localhost:9",
            civitai_token=CIVITAI_TOKEN,
            hf_token=HF_TOKEN,
            tries=2,
        )
        yield World(civitai, hub, elsewhere, config, folder)


class Records(logging.Handler):
    """Every log record of every library as text, at any level."""

    def __init__(self) -> None:
        super().__init__(level=1)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.texts.append(f"{record.name}: {record.getMessage()}\n{record.__dict__}\n{trace}")


@pytest.fixture
def records() -> Iterator[Records]:
    """Sets all loggers to their most verbose level."""
    import filelock  # noqa: F401 - imported so that their loggers exist
    import huggingface_hub  # noqa: F401
    import requests  # noqa: F401

    handler = Records()
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    listening = [logger for logger in loggers if logger is logging.root or not logger.propagate]
    for logger in loggers:
        logger.setLevel(1)
        logger.disabled = False
    for logger in listening:
        logger.addHandler(handler)
    yield handler
    for logger in listening:
        logger.removeHandler(handler)
    for logger, level, disabled in before:
        logger.setLevel(level)
        logger.disabled = disabled


def texts_of(error: BaseException) -> list[str]:
    """All texts of an exception that might be shown, including those of its causes."""
    texts = [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]
    if isinstance(error, LoraResolverError):
        texts += [json.dumps(error.as_dict()), repr(error.__dict__)]
    if isinstance(error, SeveralErrors):
        for each in error.errors:
            texts += texts_of(each)
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return texts if behind is None else texts + texts_of(behind)


def outcome_of(task: Callable[[], Any]) -> Any:
    try:
        return task()
    except LoraResolverError as error:
        return error


def assert_clean(world: World, texts: list[str], where: str) -> None:
    found = [
        (secret, text[max(0, text.find(secret) - 200) :][:400])
        for secret in world.secrets()
        for text in texts
        if secret in text
    ]
    assert not found, f"{len(found)} in {where}, e.g. {found[0]}"


def assert_nothing_is_left(world: World) -> None:
    """Checks that no file name and no file content contains a secret."""
    files = [path for path in world.folder.rglob("*") if path.is_file() and path.name != SETTINGS_FILE]
    assert_clean(world, [str(path) for path in files], "the names of files")
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in world.secrets() if secret.encode() in content], path


def assert_sent_home_only(world: World) -> None:
    """Checks that each token was sent only to its own service, in a header."""

    def carries(request: Request, token: str) -> bool:
        return token in f"{request.path}{request.query}{request.headers}"

    assert not [each for each in world.elsewhere.requests if "authorization" in each.headers]
    storage = [each for each in world.hub.requests if each.path.startswith("/storage/")]
    assert not [each for each in storage if "authorization" in each.headers]
    everywhere = [*world.civitai.requests, *world.hub.requests, *world.elsewhere.requests]
    for token, home in ((CIVITAI_TOKEN, world.civitai), (HF_TOKEN, world.hub)):
        for request in everywhere:
            if carries(request, token):
                assert request in home.requests
                assert request.headers["authorization"] == f"Bearer {token}"
                assert token not in f"{request.path}{request.query}"


def _to_elsewhere(world: World) -> None:
    world.civitai.faults["download"] = fault.redirect(f"{world.elsewhere.url}/x.safetensors?X-Signature=abc")


def _pictures_elsewhere(world: World) -> None:
    def version(server: FaultyCivitai, exchange: Exchange) -> bool:
        document = server.version_document(server.catalogue[1])
        document["images"] = [{"url": f"{world.elsewhere.url}/preview.png", "type": "image", "nsfwLevel": 1}]
        exchange.send_json(document)
        return True

    world.civitai.faults["version"] = version


def _echoes(_: FaultyCivitai, exchange: Exchange) -> bool:
    """An error message that repeats the request's token."""
    sent = exchange.request.headers.get("authorization", "")
    exchange.send_json({"error": "Forbidden", "message": f"You sent {sent}"}, 403, X_Sent=sent)
    return True


def _echoes_a_page(_: FaultyCivitai, exchange: Exchange) -> bool:
    exchange.send_bytes(f"<html>{exchange.request.headers.get('authorization')}</html>".encode(), "text/html")
    return True


def _at(stage: str, misbehaviour: fault.Fault) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.civitai.faults[stage] = misbehaviour

    return spoil


def _hub_status(status: int) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.hub.status = status

    return spoil


def _gone(world: World) -> None:
    world.hub.stop()
    world.hub.stop = lambda: None  # type: ignore[method-assign]


SIGNED = f"?signature={OTHER_SIGNATURE}"

# What happens, what is requested, and the error's code ("": it succeeds).
CASES: list[tuple[str, Callable[[World], None] | None, str, str]] = [
    ("all is well", None, INK, ""),
    ("all is well at the Hub", None, ON_HUB, ""),
    ("on another host", _to_elsewhere, INK, ""),
    ("pictures on another host", _pictures_elsewhere, INK, ""),
    ("broken off, and resumed", _at("deliver", fault.times(1, fault.breaks_off_after(30_000))), INK, ""),
    ("expired signature", _at("deliver", fault.times(1, fault.status(403))), INK, ""),
    ("unknown version", None, "civitai:1@2", "notFound"),
    ("token refused", _at("download", fault.status(401, {"message": "logged in"})), INK, "tokenRejected"),
    ("an error that repeats the token", _at("download", _echoes), INK, "accessDenied"),
    ("metadata that repeat the token", _at("version", _echoes), INK, "accessDenied"),
    ("a page that repeats the token", _at("version", _echoes_a_page), INK, "badAnswer"),
    ("too many requests", _at("download", fault.status(429)), INK, "rateLimited"),
    ("signature never good", _at("deliver", fault.status(403)), INK, "accessDenied"),
    ("storage in trouble", _at("deliver", fault.status(500)), INK, "serverError"),
    ("storage says nothing", _at("deliver", fault.silent), INK, "timedOut"),
    ("always broken off", _at("deliver", fault.breaks_off_after(0)), INK, "connectionLost"),
    ("other bytes", _at("deliver", fault.announces(200_000)), INK, "wrongLength"),
    ("loop", _at("download", fault.redirect("{url}/api/download/models/135931" + SIGNED)), INK, "redirectLoop"),
    ("to http", _at("download", fault.redirect("http://example.com/x" + SIGNED)), INK, "redirectRefused"),
    ("to a file", _at("download", fault.redirect("file:///etc/x" + SIGNED)), INK, "redirectRefused"),
    ("to nobody", _at("download", fault.redirect("https://nobody.invalid/x" + SIGNED)), INK, "connectionFailed"),
    ("to a broken port", _at("download", fault.redirect("{url}0/x" + SIGNED)), INK, "redirectRefused"),
    ("unknown file at the Hub", None, "huggingface:ink-org/ink-lora@main/no.safetensors", "notFound"),
    ("gated", None, "huggingface:ink-org/gated@main/ink.safetensors", "gated"),
    ("Hub in trouble", _hub_status(500), ON_HUB, "serverError"),
    ("Hub refuses the token", _hub_status(401), ON_HUB, "tokenRejected"),
    ("Hub is gone", _gone, ON_HUB, "connectionFailed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "identifier", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_nothing_gives_a_secret_away(
    world: World,
    records: Records,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[World], None] | None,
    identifier: str,
    code: str,
) -> None:
    if spoil is not None:
        spoil(world)
    config = world.config.with_changes(read_timeout=0.2) if code == "timedOut" else world.config
    resolver, shown, codes = Resolver(config), [repr(config)], set()
    tasks: list[Callable[[], Any]] = [
        lambda: resolver.peek(identifier),
        lambda: resolver.resolve_all([identifier], places=["lora[1].model"], on_progress=reports.append),
        lambda: resolver.resolve_all([identifier, "civitai:99@99"], places=["lora[0]", "lora[1]"]),
        lambda: resolver.library(),
    ]
    reports: list[Any] = []
    for task in tasks:
        outcome = outcome_of(task)
        if isinstance(outcome, LoraResolverError):
            codes.add(outcome.code)
            shown += texts_of(outcome)
        shown.append(repr(outcome))
    assert code in codes or not code
    assert_clean(world, shown, "what the caller sees")
    assert_clean(world, [repr(each) for each in reports], "the progress")
    assert any("urllib3" in text for text in records.texts), "the libraries' own records must be among them"
    assert_clean(world, records.texts, "the log")
    assert_clean(world, list(capfd.readouterr()), "the terminal")
    assert_nothing_is_left(world)
    assert_sent_home_only(world)
    if not code and identifier == INK:
        assert [each for each in world.civitai.requests if CIVITAI_TOKEN in str(each.headers)]
    if not code and identifier == ON_HUB:
        assert [each for each in world.hub.requests if HF_TOKEN in str(each.headers)]


TALKATIVE = """
import logging, runpy, sys
logging.basicConfig(level=1, stream=sys.stderr, format="%(name)s %(message)s")
import huggingface_hub, requests
for name in list(logging.root.manager.loggerDict):
    logging.getLogger(name).setLevel(1)
sys.argv = ["lora_resolver", *sys.argv[1:]]
runpy.run_module("lora_resolver", run_name="__main__")
"""

COMMANDS = [
    (["resolve", INK, ON_HUB], 0),
    (["resolve", "--json", INK, ON_HUB, "civitai:1@2"], 1),
    (["prefetch", "--json", f'[{{"model": "{INK}"}}, {{"model": "{ON_HUB}"}}]'], 0),
    (["prefetch", "--dry-run", f'[{{"model": "{INK}"}}, {{"model": "{ON_HUB}"}}]'], 0),
    (
        [
            "parse",
            "--json",
            f'[{{"model": "https://civitai.com/api/download/models/7?token={CIVITAI_TOKEN}"}}]',
        ],
        None,
    ),
]


@pytest.mark.parametrize(("arguments", "status"), COMMANDS, ids=[" ".join(each[0][:2]) for each in COMMANDS])
def test_the_command_line_gives_nothing_away(world: World, arguments: list[str], status: int | None) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", TALKATIVE, *arguments],
        cwd=ROOT,
        env=world.environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert status is None or ran.returncode == status, ran.stderr[-2000:]
    assert_clean(world, [ran.stdout], "standard output")
    assert_clean(world, [ran.stderr], "standard error")
    assert_nothing_is_left(world)
    assert_sent_home_only(world)


def test_a_token_in_the_settings_file_stays_there(world: World) -> None:
    environment = world.environment()
    del environment["CIVITAI_API_TOKEN"], environment["HF_TOKEN"]
    settings = world.folder / SETTINGS_FILE
    settings.write_text(json.dumps({"CIVITAI_API_TOKEN": CIVITAI_TOKEN, "HF_TOKEN": HF_TOKEN}))
    with contextlib.suppress(OSError):
        settings.chmod(0o600)
    ran = subprocess.run(
        [sys.executable, "-c", TALKATIVE, "resolve", "--json", INK, ON_HUB],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert_clean(world, [ran.stdout, ran.stderr], "what the command printed")
    assert_nothing_is_left(world)
    assert_sent_home_only(world)
