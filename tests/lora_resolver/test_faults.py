"""The fault matrix: whatever a server, a disk, or a name does, an unverified file never gets the final name.

After each fault, there is no file with the final name, none of the user's files has changed, and there is one error
with code, place, cause, and remedy. When the fault is removed, the next run succeeds.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.errors import LoraResolverError
from lora_resolver.resolver import Resolver
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import everything_in, write_safetensors

if TYPE_CHECKING:
    from lora_resolver.config import ResolverConfig
    from tests.lora_resolver.civitai_faults import Exchange, Fault, FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"
LOGIN_PAGE = fault.page(b"<!doctype html><title>Log in</title>", "text/html; charset=utf-8")


@dataclass(frozen=True)
class Case:
    """One fault, and the expected result."""

    name: str
    stage: str
    fault: Fault
    code: str = ""
    """The error's code; empty if the run succeeds in spite of the fault."""
    says: str = ""
    """Part of the error's text."""
    settings: dict[str, Any] = field(default_factory=dict)


def _version(**changes: Any) -> Fault:
    """The version's metadata with changes. `files` changes the file's metadata."""

    def answer(server: FaultyCivitai, exchange: Exchange) -> bool:
        document = server.version_document(server.catalogue[1])
        for key, value in changes.items():
            if key == "files" and isinstance(value, dict):
                document["files"][0].update(value)
            elif isinstance(value, dict):
                document[key].update(value)
            else:
                document[key] = value
        exchange.send_json(document)
        return True

    return answer


def _compressed(server: FaultyCivitai, exchange: Exchange) -> bool:
    exchange.send_bytes(
        gzip.compress(server.catalogue[1].file.read_bytes()),
        "application/octet-stream",
        200,
        Content_Encoding="gzip",
    )
    return True


def _bad_range(server: FaultyCivitai, exchange: Exchange) -> bool:
    """Answers 206, but not with the requested range."""
    if "range" not in exchange.request.headers:
        return False
    size = server.catalogue[1].file.stat().st_size
    exchange.send_bytes(b"x" * 10, "application/octet-stream", 206, Content_Range=f"bytes 5-14/{size}")
    return True


def _unsatisfiable(_: FaultyCivitai, exchange: Exchange) -> bool:
    if "range" not in exchange.request.headers:
        return False
    exchange.send_json({}, 416)
    return True


def _only_the_first_range(_: FaultyCivitai, exchange: Exchange) -> bool:
    """Answers 200 with the whole file to every range except the first."""
    if not exchange.request.headers.get("range", "").startswith("bytes=0-"):
        exchange.request.headers.pop("range", None)
    return False


def _bit_flipped(server: FaultyCivitai, exchange: Exchange) -> bool:
    content = bytearray(server.catalogue[1].file.read_bytes())
    content[-1] ^= 1
    exchange.send_bytes(bytes(content), "application/octet-stream")
    return True


def _truncated_gzip(server: FaultyCivitai, exchange: Exchange) -> bool:
    content = zlib.compress(server.catalogue[1].file.read_bytes())[:1000]
    exchange.send_bytes(content, "application/octet-stream", 200, Content_Encoding="deflate")
    return True


ONE_PIECE = {"min_piece_bytes": 10_000_000}
SOON = {"read_timeout": 0.4}
THIRD = 100_000

CASES = [
    # CivitAI refuses.
    Case(
        "401: log in",
        "download",
        fault.status(
            401,
            {"error": "Unauthorized", "message": "The creator of this asset requires you to be logged in"},
        ),
        "loginNeeded",
        "CIVITAI_API_TOKEN)",
    ),
    Case(
        "401: token refused",
        "download",
        fault.status(
            401,
            {"error": "Unauthorized", "message": "The creator of this asset requires you to be logged in"},
        ),
        "tokenRejected",
        "Create a new token",
        {"civitai_token": "old-token"},
    ),
    Case(
        "401: downloads disabled",
        "download",
        fault.status(
            401, {"error": "Unauthorized", "message": "The creator has disabled downloads on this file"}
        ),
        "downloadsDisabled",
        "A token doesn't help",
    ),
    Case(
        "403: early access",
        "download",
        fault.status(403, {"error": "Early Access", "deadline": "2027-01-31T00:00:00.000Z"}),
        "earlyAccess",
        "is in early access until 2027-01-31. Buy access at",
    ),
    Case(
        "403: forbidden", "download", fault.status(403, {"error": "Forbidden"}), "accessDenied", "Forbidden"
    ),
    Case(
        "404: no file",
        "download",
        fault.status(404, {"error": "File not found"}),
        "notFound",
        "no longer has the file",
    ),
    Case(
        "410: archived",
        "download",
        fault.status(410, {"error": "Model archived"}),
        "archived",
        "local:name.safetensors",
    ),
    Case("archived, in the metadata", "version", _version(model={"mode": "Archived"}, files=[]), "archived"),
    Case("taken down", "version", _version(model={"mode": "TakenDown"}), "takenDown"),
    Case(
        "for use on the site only",
        "version",
        _version(usageControl="InternalGeneration"),
        "downloadsDisabled",
    ),
    Case(
        "a checkpoint",
        "version",
        _version(model={"type": "Checkpoint"}),
        "notALora",
        "has the type Checkpoint, not LoRA",
    ),
    Case(
        "a pickle",
        "version",
        _version(files={"name": "ink.pt", "metadata": {"format": "PickleTensor"}}),
        "notSafetensors",
        "can run code",
    ),
    Case("virus scan", "version", _version(files={"virusScanResult": "Danger"}), "dangerousFile"),
    Case("pickle scan", "version", _version(files={"pickleScanResult": "Danger"}), "dangerousFile"),
    Case("no file at all", "version", _version(files=[]), "noFile"),
    Case("metadata of odd types", "version", _version(files="x", model={"name": 5}, images=7), "noFile"),
    # Server errors.
    Case("429 for a while", "download", fault.times(2, fault.status(429))),
    Case("429 with Retry-After", "download", fault.times(1, fault.status(429, Retry_After=0))),
    Case("429 for good", "download", fault.status(429), "rateLimited", "in a few minutes"),
    Case(
        "429 with a long Retry-After",
        "download",
        fault.status(429, Retry_After=900),
        "rateLimited",
        "in 900 seconds",
    ),
    Case("500 then fine", "download", fault.times(2, fault.status(500))),
    Case("503 for good", "download", fault.status(503), "serverError", "(503)"),
    Case("a proxy's 522 for good", "download", fault.status(522), "serverError", "(522)"),
    Case("storage 500 then fine", "deliver", fault.times(2, fault.status(500))),
    Case("metadata 500 then fine", "version", fault.times(2, fault.status(500))),
    Case(
        "metadata 429 for good",
        "version",
        fault.status(429, Retry_After=120),
        "rateLimited",
        "in 120 seconds",
    ),
    Case("metadata log-in page", "version", LOGIN_PAGE, "badAnswer", "instead of JSON"),
    Case("metadata 401", "version", fault.status(401), "tokenRejected"),
    Case("metadata 403", "version", fault.status(403), "accessDenied"),
    Case("metadata silent", "version", fault.silent, "timedOut", "didn't respond in time", SOON),
    Case("silent", "deliver", fault.silent, "timedOut", "didn't respond in time", {"tries": 2, **SOON}),
    Case("stall once", "deliver", fault.times(1, fault.stalls_after(20_000)), settings={"read_timeout": 2.0}),
    Case(
        "slow loris",
        "deliver",
        fault.drips,
        "tooSlow",
        "bytes per second",
        {"tries": 2, "read_timeout": 3.0},  # it must never be silent for so long
    ),
    Case("reset after each third", "deliver", fault.breaks_off_after(THIRD), settings=ONE_PIECE),
    Case("reset in every range", "deliver", fault.times(4, fault.breaks_off_after(30_000))),
    Case(
        "reset after nothing",
        "deliver",
        fault.breaks_off_after(0),
        "connectionLost",
        "closed the connection unexpectedly",
    ),
    # Invalid responses.
    Case("length too large", "deliver", fault.announces(300_600), "connectionLost"),
    Case("length far too large", "deliver", fault.announces(10**12), "tooLarge", "AIR_LORA_MAX_BYTES"),
    Case("another length", "deliver", fault.announces(200_000), "wrongLength", "but the server has 200,000"),
    Case("no length", "deliver", fault.without_length),
    Case("no ranges", "deliver", fault.without_ranges),
    Case("no ranges, and a reset", "deliver", fault.times(1, fault.without_length)),
    Case("ranges only at first", "deliver", _only_the_first_range),
    Case("another range than asked for", "deliver", _bad_range),
    Case("416", "deliver", fault.times(2, _unsatisfiable)),
    Case("416 for good", "deliver", _unsatisfiable, "fileChanged"),
    Case("log-in page with 200", "deliver", LOGIN_PAGE, "badAnswer", "A token might be required"),
    Case(
        "JSON error with 200",
        "deliver",
        fault.page(b'{"error": "Unauthorized"}', "application/json"),
        "badAnswer",
    ),
    Case("page that calls itself a file", "deliver", fault.sends(b"<html>Log in</html>"), "wrongLength"),
    Case("gzip", "deliver", _compressed),
    Case("broken compression", "deliver", _truncated_gzip, "wrongHash"),
    Case("wrong hash", "deliver", _bit_flipped, "wrongHash", "The downloaded data was deleted."),
    Case("expired signature", "deliver", fault.times(1, fault.status(403))),
    Case("signature never good", "deliver", fault.status(403), "accessDenied"),
    # Redirects.
    Case(
        "redirect loop",
        "download",
        fault.redirect("{url}/api/download/models/135931?fileId=1359311"),
        "redirectLoop",
    ),
    Case(
        "redirect to http",
        "download",
        fault.redirect("http://example.com/x"),
        "redirectRefused",
        "isn't encrypted (http)",
    ),
    Case(
        "redirect to loopback",
        "download",
        fault.redirect("https://127.0.0.2/x"),
        "redirectRefused",
        "is on the local network",
    ),
    Case("redirect to localhost", "download", fault.redirect("https://localhost/x"), "redirectRefused"),
    Case(
        "redirect to a private address", "download", fault.redirect("https://10.0.0.1/x"), "redirectRefused"
    ),
    Case(
        "redirect to the cloud's metadata",
        "download",
        fault.redirect("https://169.254.169.254/x"),
        "redirectRefused",
    ),
    Case(
        "redirect to IPv6 loopback",
        "download",
        fault.redirect("https://[::ffff:127.0.0.1]/x"),
        "redirectRefused",
    ),
    Case(
        "redirect to a file",
        "download",
        fault.redirect("file:///etc/passwd"),
        "redirectRefused",
        "isn't a web address",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault(case: Case, config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry) -> None:
    config = config.with_changes(**case.settings)
    own = write_safetensors(config.download_dir / "own.safetensors", 400)
    civitai.faults[case.stage] = case.fault
    if case.code:
        with pytest.raises(LoraResolverError) as caught:
            Resolver(config).resolve_all([INK], places=["lora[1].model"])
        error = caught.value
        assert (error.code, error.parameter) == (case.code, "lora[1].model")
        assert case.says in str(error)
        assert error.message
        assert error.remedy
        left = everything_in(config.download_dir)
        assert left.pop("own.safetensors") == own.read_bytes()
        assert all(".air-part" in name for name in left), sorted(left)
        civitai.faults.clear()
        config = config.with_changes(read_timeout=30.0)
    lora = Resolver(config).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()
    assert not [name for name in everything_in(config.download_dir) if ".air-part" in name]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, *range(520, 525), 530])
@pytest.mark.parametrize("stage", ["version", "deliver"])
def test_a_status_that_may_pass_is_tried_again(
    stage: str, status: int, config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults[stage] = fault.times(2, fault.status(status))
    assert Resolver(config.with_changes(tries=3, **ONE_PIECE)).resolve(INK).sha256 == ink.sha256


@pytest.mark.parametrize("status", [402, 405, 418, 451, 501, 505])
def test_another_status_is_not_tried_again(
    status: int, config: ResolverConfig, civitai: FaultyCivitai
) -> None:
    civitai.faults["version"] = fault.status(status)
    with pytest.raises(LoraResolverError):
        Resolver(config.with_changes(tries=3)).resolve(INK)
    assert len([path for path in civitai.paths() if "/model-versions/" in path]) == 1
