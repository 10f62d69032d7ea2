"""Peeking before downloading: the header of a file at its source, and the cost."""

from __future__ import annotations

import json
import struct
from math import prod
from typing import TYPE_CHECKING

import pytest

from lora_resolver.errors import (
    AccessDenied,
    HostedOnly,
    LoraResolverError,
    Mismatch,
    NotFound,
    TransferFailed,
)
from lora_resolver.model_file.safetensors_header import DTYPE_BITS
from lora_resolver.records import PeekedLora
from lora_resolver.resolver import Resolver
from lora_resolver.transfer.peek import FIRST_BYTES
from tests.header_samples import samples
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.civitai_faults import FaultyCivitai
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.civitai_server import CatalogueEntry
from tools.huggingface_server import HuggingFaceServer, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from lora_resolver.identifiers import Identifier

BIG = "civitai:1@10"
SMALL = "civitai:1@11"
PICKLE = "civitai:1@12"


def write_like(sample_name: str, path: Path, metadata_bytes: int = 0) -> Path:
    """A file with a real LoRA's header and sparse tensors of zeros, which take no space on disk."""
    sample = next(each for each in samples() if each.name == sample_name)
    content: dict[str, object] = {"__metadata__": {**sample.header.metadata, "comment": "x" * metadata_bytes}}
    end = 0
    for name, info in sample.header.tensors.items():
        start, end = end, end + prod(info.shape) * DTYPE_BITS[info.dtype] // 8
        content[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [start, end]}
    text = json.dumps(content).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def with_a_header_of(path: Path, size: int) -> Path:
    """A file whose header, with its length, takes this many bytes."""
    text = json.dumps({"a.lora_up.weight": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    text = text.ljust(size - 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("served")
    pickle = folder / "pickle.safetensors"
    pickle.write_bytes(b"\x80\x02}q\x00." + bytes(200_000))
    return {
        BIG: write_like("sdxl_muchai_sdxl", folder / "big.safetensors"),
        SMALL: write_safetensors(folder / "small.safetensors", 20_000),
        PICKLE: pickle,
        "civitai:1@13": write_like("sd1_diffusers_course3", folder / "chatty.safetensors", 900_000),
        "civitai:1@14": with_a_header_of(folder / "exact.safetensors", FIRST_BYTES),
        "civitai:1@15": with_a_header_of(folder / "one more.safetensors", FIRST_BYTES + 1),
    }


@pytest.fixture(scope="module")
def catalogue(files: dict[str, Path]) -> list[CatalogueEntry]:
    entries = [CatalogueEntry(1, int(name.partition("@")[2]), "Ink", file) for name, file in files.items()]
    # Hashed once here, because a server that hashes a large file before it responds may be too slow for the tests.
    assert all(entry.sha256 for entry in entries)
    return entries


@pytest.fixture
def civitai(catalogue: list[CatalogueEntry]) -> Iterator[FaultyCivitai]:
    with FaultyCivitai(catalogue) as server:
        yield server


@pytest.fixture
def config(civitai: FaultyCivitai, tmp_path: Path) -> ResolverConfig:
    return quick_config(tmp_path / "loras", civitai_url=civitai.url)


def delivered(server: FaultyCivitai | HuggingFaceServer, route: str = "/delivery/") -> int:
    """The bytes that were requested from the server."""
    total = 0
    for request in server.requests:
        if request.path.startswith(route):
            start, _, end = request.headers["range"].removeprefix("bytes=").partition("-")
            total += int(end) - int(start) + 1
    return total


@pytest.mark.parametrize(("name", "requests"), [("civitai:1@14", 1), ("civitai:1@15", 2)])
def test_a_header_that_fills_the_first_bytes_needs_no_more(
    name: str, requests: int, config: ResolverConfig, civitai: FaultyCivitai
) -> None:
    peeked = Resolver(config).peek(name)
    assert peeked.header is not None
    assert list(peeked.header.tensors) == ["a.lora_up.weight"]
    assert sum(request.path.startswith("/delivery/") for request in civitai.requests) == requests


def test_the_header_of_a_large_file_for_less_than_a_hundredth(
    config: ResolverConfig, civitai: FaultyCivitai, files: dict[str, Path]
) -> None:
    peeked = Resolver(config).peek(BIG)
    size = files[BIG].stat().st_size
    assert (peeked.size, peeked.path, peeked.file_name) == (size, None, "big.safetensors")
    assert peeked.architecture is not None
    assert "sdxl" in peeked.architecture.families
    assert peeked.header is not None
    assert len(peeked.header.tensors) == 2364
    assert peeked.record is not None
    assert peeked.record.name == "Ink"
    assert peeked.sha256 == civitai.catalogue[0].sha256
    assert peeked.bytes_read == delivered(civitai) <= max(size // 100, 512 * 1024)
    assert not config.download_dir.exists()


def test_a_small_header_takes_one_request(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    assert Resolver(config).peek(SMALL).header is not None
    assert len([path for path in civitai.paths() if path.startswith("/delivery/")]) == 1


def test_a_header_that_costs_too_much_is_left_alone(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    peeked = Resolver(config).peek("civitai:1@13")
    assert (peeked.header, peeked.architecture) == (None, None)
    assert peeked.bytes_read == delivered(civitai) == 64 * 1024
    assert peeked.sha256


def test_what_is_here_already_costs_nothing(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    lora = Resolver(config).resolve(SMALL)
    asked = len(civitai.requests)
    peeked = Resolver(config).peek(SMALL)
    assert (peeked.path, peeked.sha256, peeked.bytes_read) == (lora.path, lora.sha256, 0)
    assert peeked.architecture == lora.architecture
    assert len(civitai.requests) == asked


@pytest.mark.parametrize("spoil", [fault.without_ranges, fault.times(1, fault.status(503))])
def test_servers_that_make_it_harder(
    config: ResolverConfig, civitai: FaultyCivitai, spoil: fault.Fault
) -> None:
    civitai.faults["deliver"] = spoil
    peeked = Resolver(config).peek(BIG)
    assert peeked.architecture is not None
    assert "sdxl" in peeked.architecture.families
    assert peeked.bytes_read <= 512 * 1024


@pytest.mark.parametrize("spoil", [fault.without_length, fault.sends(b"\x1f\x8b", Content_Encoding="gzip")])
def test_servers_that_make_it_impossible(
    config: ResolverConfig, civitai: FaultyCivitai, spoil: fault.Fault
) -> None:
    civitai.faults["deliver"] = spoil
    peeked = Resolver(config).peek(SMALL)
    assert (peeked.header, peeked.bytes_read) == (None, 0)
    assert peeked.record is not None


def test_a_file_that_changes_between_the_two_requests(
    config: ResolverConfig, civitai: FaultyCivitai, files: dict[str, Path]
) -> None:
    answered = []

    def another(_: FaultyCivitai, exchange: fault.Exchange) -> bool:
        answered.append(1)
        exchange.send_file(files[BIG], etag=f'"{len(answered)}"')
        return True

    civitai.faults["deliver"] = another
    assert Resolver(config).peek(BIG).header is None
    assert len(answered) == 2


REFUSALS: list[tuple[str, str, Callable[[FaultyCivitai], None], type[LoraResolverError]]] = [
    ("loginNeeded", BIG, lambda server: setattr(server, "token", "secret"), AccessDenied),
    ("notFound", "civitai:1@99", lambda _: None, NotFound),
    ("hostedOnly", "runware:100@1", lambda _: None, HostedOnly),
    ("notSafetensors", PICKLE, lambda _: None, LoraResolverError),
    (
        "badAnswer",
        BIG,
        lambda server: server.faults.update(deliver=fault.page(b"<html>", "text/html")),
        TransferFailed,
    ),
    ("timedOut", BIG, lambda server: server.faults.update(deliver=fault.silent), TransferFailed),
]


@pytest.mark.parametrize(("code", "name", "arrange", "kind"), REFUSALS, ids=[case[0] for case in REFUSALS])
def test_what_a_download_would_meet_is_said_beforehand(
    config: ResolverConfig,
    civitai: FaultyCivitai,
    code: str,
    name: str,
    arrange: Callable[[FaultyCivitai], None],
    kind: type[LoraResolverError],
) -> None:
    arrange(civitai)
    if code == "timedOut":
        config = config.with_changes(read_timeout=0.4)
    with pytest.raises(kind) as caught:
        Resolver(config).peek(name)
    assert caught.value.code == code
    civitai.free.set()


def test_several_side_by_side_each_with_its_own_answer(config: ResolverConfig) -> None:
    outcomes = Resolver(config).peek_all([BIG, "runware:100@1", SMALL, BIG])
    assert [isinstance(outcome, PeekedLora) for outcome in outcomes] == [True, False, True, True]
    assert outcomes[0] == outcomes[3]


def test_a_file_can_be_refused_before_its_weights_come(
    config: ResolverConfig, civitai: FaultyCivitai, files: dict[str, Path]
) -> None:
    def refuse(looked: Mapping[Identifier, PeekedLora | LoraResolverError]) -> dict[Identifier, Mismatch]:
        ((name, lora),) = looked.items()
        assert isinstance(lora, PeekedLora)
        assert lora.architecture is not None
        return {name: Mismatch(f"it is for {lora.architecture.families[0]}", code="wrongArchitecture")}

    with pytest.raises(Mismatch, match="it is for sdxl") as caught:
        Resolver(config).resolve_all([BIG], places=["lora[0].model"], before_downloads=refuse)
    assert caught.value.parameter == "lora[0].model"
    assert delivered(civitai) < files[BIG].stat().st_size // 100
    assert not config.download_dir.exists()

    lora = Resolver(config).resolve_all([SMALL], before_downloads=lambda _: {})[0]
    Resolver(config).resolve_all([SMALL], before_downloads=refuse)  # it is already on disk
    assert lora.downloaded


def test_hugging_face_the_same(files: dict[str, Path], tmp_path: Path) -> None:
    repository = Repository("org/repo", {"big.safetensors": files[BIG]})
    with HuggingFaceServer([repository]) as hub:
        config = quick_config(tmp_path / "loras", hf_endpoint=hub.url, civitai_url="http://localhost:9")
        peeked = Resolver(config).peek("huggingface:org/repo@main/big.safetensors")
        assert peeked.architecture is not None
        assert "sdxl" in peeked.architecture.families
        assert peeked.bytes_read == delivered(hub, "/storage/") <= 512 * 1024
        assert peeked.sha256
