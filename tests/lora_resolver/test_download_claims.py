"""What a download guarantees without a hash, when a hash isn't enough, and in the order of its last steps."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.errors import LoraResolverError, VerificationFailed
from lora_resolver.resolver import Resolver
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import everything_in, write_safetensors

if TYPE_CHECKING:
    from lora_resolver.config import ResolverConfig
    from lora_resolver.records import Progress
    from tests.lora_resolver.civitai_faults import Exchange, FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"
ONE_PIECE = {"min_piece_bytes": 10_000_000, "connections": 1}


def without_hash(server: FaultyCivitai, exchange: Exchange) -> bool:
    """Metadata without a SHA-256, as for files that CivitAI hasn't scanned yet."""
    document = server.version_document(server.catalogue[1])
    document["files"][0]["hashes"] = {}
    exchange.send_json(document)
    return True


def ranges_asked_for(civitai: FaultyCivitai) -> list[str]:
    delivered = [request for request in civitai.requests if request.path.startswith("/delivery/")]
    return [request.headers.get("range", "whole") for request in delivered]


@pytest.mark.parametrize("third", [1, 2, 3])
def test_a_connection_that_breaks_at_each_third_goes_on_at_the_very_byte(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, third: int
) -> None:
    size = ink.file.stat().st_size
    at = size * third // 3 - (third == 3)  # for the last third, the last byte is missing
    civitai.faults["deliver"] = fault.times(1, fault.ends_after(at))
    lora = Resolver(config.with_changes(**ONE_PIECE)).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()
    assert ranges_asked_for(civitai) == [f"bytes=0-{size - 1}", f"bytes={at}-{size - 1}"]


@pytest.mark.parametrize("third", [1, 2, 3])
def test_so_does_the_next_run_after_one_that_failed_there(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, third: int
) -> None:
    size = ink.file.stat().st_size
    at = size * third // 3 - (third == 3)
    config = config.with_changes(**ONE_PIECE, tries=1)
    civitai.faults["deliver"] = fault.ends_after(at)
    with pytest.raises(LoraResolverError) as caught:
        Resolver(config).resolve(INK)
    assert caught.value.code == "connectionLost"
    assert not list(config.download_dir.rglob("*.safetensors"))
    civitai.faults.clear()
    civitai.requests.clear()
    assert Resolver(config).resolve(INK).path.read_bytes() == ink.file.read_bytes()
    assert ranges_asked_for(civitai) == [f"bytes={at}-{size - 1}"]


def test_without_a_promised_hash_the_header_decides_and_the_hash_is_computed(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["version"] = without_hash
    lora = Resolver(config).resolve(INK)
    assert (lora.sha256, lora.path.read_bytes()) == (ink.sha256, ink.file.read_bytes())
    assert Resolver(config).resolve(f"sha256:{ink.sha256}").path == lora.path


def test_without_a_promised_hash_a_download_is_resumed_while_the_etag_stays(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults.update(version=without_hash, deliver=fault.ends_after(200_000))
    with pytest.raises(LoraResolverError):
        Resolver(config.with_changes(**ONE_PIECE, tries=1)).resolve(INK)
    del civitai.faults["deliver"]
    civitai.requests.clear()
    assert Resolver(config.with_changes(**ONE_PIECE)).resolve(INK).sha256 == ink.sha256
    assert ranges_asked_for(civitai) == [f"bytes=200000-{ink.file.stat().st_size - 1}"]


def test_without_a_promised_hash_another_etag_begins_anew(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults.update(version=without_hash, deliver=fault.ends_after(200_000))
    with pytest.raises(LoraResolverError):
        Resolver(config.with_changes(**ONE_PIECE, tries=1)).resolve(INK)
    del civitai.faults["deliver"]
    write_safetensors(ink.file, 300_000, seed=99)  # same size, different bytes
    del ink.__dict__["sha256"]
    lora = Resolver(config.with_changes(**ONE_PIECE)).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()


def with_etag(etag: str, broken: fault.Fault | None = None) -> fault.Fault:
    """Delivers the bytes with this ETag, and with another fault, if there is one."""

    def answer(server: FaultyCivitai, exchange: Exchange) -> bool:
        send_file = exchange.send_file
        exchange.send_file = lambda path, **_: send_file(path, etag=etag)  # type: ignore[method-assign]
        return broken is not None and broken(server, exchange)

    return answer


@pytest.mark.parametrize("etag", ["", 'W/"the-same"'], ids=["no ETag", "weak ETag"])
def test_without_a_hash_and_a_strong_etag_nothing_is_resumed(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, etag: str
) -> None:
    civitai.faults.update(version=without_hash, deliver=with_etag(etag, fault.ends_after(200_000)))
    with pytest.raises(LoraResolverError):
        Resolver(config.with_changes(**ONE_PIECE, tries=1)).resolve(INK)
    civitai.faults["deliver"] = with_etag(etag)
    write_safetensors(ink.file, 300_000, seed=99)  # same size, different bytes
    del ink.__dict__["sha256"]
    lora = Resolver(config.with_changes(**ONE_PIECE)).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()


def test_bytes_of_a_file_that_was_replaced_are_not_resumed(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.ends_after(200_000)
    with pytest.raises(LoraResolverError):
        Resolver(config.with_changes(**ONE_PIECE, tries=1)).resolve(INK)
    del civitai.faults["deliver"]
    civitai.requests.clear()
    write_safetensors(ink.file, 300_000, seed=99)  # same size; its metadata has the new hash
    del ink.__dict__["sha256"]
    lora = Resolver(config.with_changes(**ONE_PIECE)).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()
    assert ranges_asked_for(civitai)[0].startswith("bytes=0-")


def test_a_part_file_that_somebody_cut_is_not_resumed(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.ends_after(200_000)
    with pytest.raises(LoraResolverError):
        Resolver(config.with_changes(**ONE_PIECE, tries=1)).resolve(INK)
    del civitai.faults["deliver"]
    civitai.requests.clear()
    (part,) = config.download_dir.rglob("*.air-part")
    os.truncate(part, 100_000)
    assert Resolver(config.with_changes(**ONE_PIECE)).resolve(INK).sha256 == ink.sha256
    assert ranges_asked_for(civitai) == [f"bytes=0-{ink.file.stat().st_size - 1}"]


def test_the_service_is_asked_once_for_all_pieces(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    assert Resolver(config).resolve(INK).sha256 == ink.sha256
    assert len(ranges_asked_for(civitai)) > 2
    assert sum("/api/download/" in path for path in civitai.paths()) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_signed_address_that_expires_between_two_pieces_is_asked_for_again(
    status: int, config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.after(1, fault.times(1, fault.status(status)))
    lora = Resolver(config.with_changes(connections=2, min_piece_bytes=100_000, tries=1)).resolve(INK)
    assert lora.path.read_bytes() == ink.file.read_bytes()
    asked = sum("/api/download/" in path for path in civitai.paths())
    assert asked in (2, 3), "on a busy machine, both connections can ask for the first address"


def test_one_download_for_several_names_of_one_file(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.slowly(500_000)
    names = [INK, f"sha256:{ink.sha256}", "https://civitai.com/api/download/models/135931"]
    found = Resolver(config.with_changes(**ONE_PIECE)).resolve_all(names)
    assert {lora.path for lora in found} == {found[0].path}
    assert sorted(lora.downloaded for lora in found) == [False, False, True]
    assert ranges_asked_for(civitai) == [f"bytes=0-{ink.file.stat().st_size - 1}"]


class Cancelled(Exception):
    pass


def test_who_waits_for_another_download_can_be_cancelled_and_disturbs_nobody(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.stalls_after(100_000)
    config = config.with_changes(**ONE_PIECE, read_timeout=120.0)
    first: list[Any] = []
    downloading = threading.Thread(target=lambda: first.append(Resolver(config).resolve(INK)))
    downloading.start()
    while not list(config.download_dir.rglob("*.air-part")):
        time.sleep(0.01)

    def cancel_when_it_waits(progress: Progress) -> None:
        if progress.phase == "wait" and progress.done == 100_000:
            raise Cancelled

    try:
        with pytest.raises(Cancelled):
            Resolver(config).resolve(INK, on_progress=cancel_when_it_waits)
        assert downloading.is_alive()
        assert list(config.download_dir.rglob("*.air-part"))
    finally:
        civitai.faults.clear()
        civitai.free.set()
        downloading.join()
    assert [lora.path.read_bytes() for lora in first] == [ink.file.read_bytes()]


HOSTILE = [
    (
        "beyond the file",
        json.dumps({"a": {"dtype": "U8", "shape": [4 << 40], "data_offsets": [0, 4 << 40]}}),
        "fileTruncated",
    ),
    (
        "overlapping",
        '{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}',
        "offsetsOverlap",
    ),
    ("no JSON", '{"a":' + "[" * 3000 + "}", "headerMalformed"),
    (
        "a tensor twice",
        "{" + ",".join(['"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'] * 2) + "}",
        "duplicateName",
    ),
]


@pytest.mark.parametrize("promised", [True, False], ids=["hash right", "no hash"])
@pytest.mark.parametrize(
    ("header", "code"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_a_hostile_header_is_refused_whatever_the_hash_says(
    config: ResolverConfig,
    civitai: FaultyCivitai,
    ink: CatalogueEntry,
    header: str,
    code: str,
    promised: bool,
) -> None:
    sound = ink.file.read_bytes()
    ink.file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(12))
    if not promised:
        civitai.faults["version"] = without_hash
    with pytest.raises(VerificationFailed) as caught:
        Resolver(config).resolve_all([INK], places=["lora[1].model"])
    assert (caught.value.code, caught.value.parameter) == (code, "lora[1].model")
    assert caught.value.remedy
    assert everything_in(config.download_dir) == {}
    ink.file.write_bytes(sound)
    del ink.__dict__["sha256"]
    assert Resolver(config).resolve(INK).path.read_bytes() == sound


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name_and_the_name_after(
    config: ResolverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = config.download_dir / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    steps: list[tuple[str, str, bool]] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(handle: int) -> None:
        about = os.fstat(handle)
        same = [
            path
            for path in (target.parent, *target.parent.glob("*.air-part"))
            if os.path.samestat(about, path.stat())
        ]
        steps.extend(("fsync", path.name, target.exists()) for path in same)
        fsync(handle)

    def watched_replace(self: Path, to: Any) -> Path:
        result = replace(self, to)
        if Path(to) == target:
            steps.append(("replace", self.suffix, target.exists()))
        return result

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    Resolver(config).resolve(INK)
    assert ("fsync", "ink.safetensors.air-part", False) in steps
    named = steps.index(("replace", ".air-part", True))
    assert steps.index(("fsync", "ink.safetensors.air-part", False)) < named
    if hasattr(os, "O_DIRECTORY"):
        assert ("fsync", "120096@135931", True) in steps[named:], (
            "the folder, so that the name outlasts a power cut"
        )
