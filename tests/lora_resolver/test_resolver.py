"""From an identifier to a verified file: the normal case, files found without a network, progress, and cancel."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lora_resolver.errors import HostedOnly, LoraResolverError, NotFound, SeveralErrors
from lora_resolver.model_file.safetensors_header import read_header
from lora_resolver.resolver import Resolver
from lora_resolver.text import version
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import everything_in, write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from lora_resolver.records import Progress
    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"


def test_a_lora_is_downloaded_verified_and_described(config: ResolverConfig, ink: CatalogueEntry) -> None:
    lora = Resolver(config).resolve(INK)
    assert lora.path == config.download_dir / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    assert lora.path.read_bytes() == ink.file.read_bytes()
    assert (lora.sha256, lora.size) == (ink.sha256, ink.file.stat().st_size)
    assert (lora.downloaded, lora.source) == (True, "civitai")
    assert lora.trigger_words == ("ink", "pen drawing")
    assert lora.record is not None
    assert (lora.record.name, lora.record.version_name, lora.record.base_model) == ("Ink", "v1.1", "SDXL 1.0")


def test_a_fresh_file_s_header_is_read_once_and_handed_on(
    config: ResolverConfig, ink: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read during verification. Display and patching use that header."""
    read = []
    for module in (
        "transfer.download.verify",
        "transfer.download.engine",
        "resolve_session",
        "on_disk.library.library",
    ):
        monkeypatch.setattr(
            f"lora_resolver.{module}.read_header", lambda path: read.append(path) or read_header(path)
        )
    lora = Resolver(config).resolve(INK)
    assert len(read) == 1
    assert lora.header == read_header(ink.file)


def test_services_see_who_asks(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    Resolver(config).resolve(INK)
    agents = {each.headers["user-agent"].partition(" ")[0] for each in civitai.requests}
    assert agents == {f"air-lora/{version()}"}


def test_other_tools_find_its_information_and_picture_beside_it(
    config: ResolverConfig, ink: CatalogueEntry
) -> None:
    lora = Resolver(config).resolve(INK)
    information = json.loads(lora.path.with_suffix(".civitai.info").read_bytes())
    assert information["id"] == 135931
    assert information["files"][0]["hashes"]["SHA256"] == ink.sha256.upper()
    assert lora.path.with_suffix(".preview.png").read_bytes() == ink.preview.read_bytes()
    left = sorted(path.name for path in lora.path.parent.iterdir())
    assert left == ["ink.air.json", "ink.civitai.info", "ink.preview.png", "ink.safetensors"]


def test_a_second_run_touches_no_network(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    first = Resolver(config).resolve(INK)
    civitai.stop()
    civitai.start = civitai.stop = lambda: None  # type: ignore[method-assign]
    second = Resolver(config).resolve(INK)
    assert (second.path, second.sha256, second.trigger_words) == (
        first.path,
        first.sha256,
        first.trigger_words,
    )
    assert second.downloaded is False
    assert Resolver(config).find_local(INK) == first.path
    assert Resolver(config).resolve(f"sha256:{first.sha256}").path == first.path
    assert Resolver(config).resolve("https://civitai.com/api/download/models/135931").path == first.path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("civitai:120096@135931+1359311", "ink.safetensors"),
        ("civitai:120096@latest", "ink-2.safetensors"),
        ("https://civitai.com/api/download/models/70", "chalk.safetensors"),
        ("https://civitai.com/models/7?modelVersionId=70", "chalk.safetensors"),
        ("urn:air:sdxl:lora:civitai:7@70.safetensors", "chalk.safetensors"),
    ],
)
def test_every_spelling_leads_to_the_file(config: ResolverConfig, name: str, file: str) -> None:
    assert Resolver(config).resolve(name).path.name == file


def test_a_hash_is_looked_up_at_civitai(config: ResolverConfig, ink: CatalogueEntry) -> None:
    lora = Resolver(config).resolve(f"sha256:{ink.sha256}")
    assert lora.path.parent.name == "120096@135931"
    assert Resolver(config).find_local(INK) == lora.path


def test_several_are_fetched_side_by_side_and_each_once(
    config: ResolverConfig, civitai: FaultyCivitai
) -> None:
    meeting = threading.Barrier(2, timeout=120)

    def together(_server: object, _exchange: object) -> bool:
        meeting.wait()
        return False

    civitai.faults["version"] = together
    loras = Resolver(config).resolve_all([INK, "civitai:7@70", INK])
    assert [lora.path.name for lora in loras] == ["ink.safetensors", "chalk.safetensors", "ink.safetensors"]
    assert civitai.paths().count("/api/download/models/135931") == 1


def test_each_error_is_placed_at_its_entry(config: ResolverConfig) -> None:
    with pytest.raises(SeveralErrors) as caught:
        Resolver(config).resolve_all(
            ["civitai:9@9", "civitai:7@70", "runware:100@1"],
            places=["lora[0].model", "lora[1].model", "lora[2].model"],
        )
    assert [(error.parameter, error.code) for error in caught.value.errors] == [
        ("lora[0].model", "notFound"),
        ("lora[2].model", "hostedOnly"),
    ]
    assert Resolver(config).find_local("civitai:7@70") is not None


REFUSALS = [
    (
        "civitai:120096",
        "versionMissing",
        "Missing version in civitai:120096 (Ink).",
        (
            "Use one of: civitai:120096@140000 (v2.0), civitai:120096@135931 (v1.1). "
            "To always use the newest version, write civitai:120096@latest."
        ),
    ),
    (
        "civitai:5@135931",
        "wrongModel",
        "Version 135931 belongs to CivitAI model 120096, not to 5.",
        "To use 'Ink', write civitai:120096@135931.",
    ),
    (
        "civitai:9@9",
        "notFound",
        "CivitAI has no version 9 (civitai:9@9).",
        "Check the identifier. The model might also be deleted, unpublished, or visible only with a token.",
    ),
    ("civitai:7@70+5", "notFound", "civitai:7@70 has no file 5.", "Available files: +701 chalk.safetensors."),
]


@pytest.mark.parametrize(("name", "code", "cause", "remedy"), REFUSALS)
def test_what_cannot_be_had_is_explained(
    config: ResolverConfig, name: str, code: str, cause: str, remedy: str
) -> None:
    with pytest.raises(LoraResolverError) as caught:
        Resolver(config).resolve(name)
    assert (caught.value.code, str(caught.value)) == (code, f"{cause} {remedy}")


def test_a_local_name_is_found_in_every_folder(config: ResolverConfig, tmp_path: Path) -> None:
    other = tmp_path / "more loras"
    path = write_safetensors(other / "styles" / "ink.safetensors", 400)
    resolver = Resolver(config.with_changes(search_dirs=(other,)))
    lora = resolver.resolve("local:styles/ink.safetensors")
    assert (lora.path, lora.source, lora.downloaded, lora.record) == (path, "local", False, None)
    assert resolver.find_local("local:styles/ink.safetensors") == path


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("local:Ink.safetensors", "Did you mean local:styles/ink.safetensors?"),
        ("local:styles/inc.safetensors", "Did you mean local:styles/ink.safetensors?"),
        ("local:nothing-like-it.safetensors", "Put the file in"),
    ],
)
def test_a_local_name_that_is_nearly_right_is_suggested(
    config: ResolverConfig, name: str, suggestion: str
) -> None:
    write_safetensors(config.download_dir / "styles" / "ink.safetensors", 400)
    with pytest.raises(NotFound) as caught:
        Resolver(config).resolve(name)
    assert suggestion in caught.value.remedy


def test_hosted_models_can_be_mapped_to_something_that_can_be_had(
    config: ResolverConfig, tmp_path: Path
) -> None:
    own = write_safetensors(tmp_path / "elsewhere" / "house.safetensors", 400)
    config.state.mkdir(parents=True)
    (config.state / "aliases.json").write_text(
        json.dumps(
            {
                "runware:97@1": "civitai:7@70",
                "mycompany:1@2": str(own),
                "urn:air:flux1:lora:bfl:a@b": "runware:97@1",
            }
        )
    )
    resolver = Resolver(config)
    assert resolver.resolve("runware:97@1").path.name == "chalk.safetensors"
    assert resolver.resolve("mycompany:1@2").path == own
    assert resolver.resolve("bfl:a@b").path.name == "chalk.safetensors"
    with pytest.raises(
        HostedOnly, match=r'add \{"runware:98@1": "local:name.safetensors"\} to .*aliases.json'
    ):
        resolver.resolve("runware:98@1")


def test_aliases_in_a_circle_end(config: ResolverConfig) -> None:
    config.state.mkdir(parents=True)
    (config.state / "aliases.json").write_text('{"mine:1@1": "yours:1@1", "yours:1@1": "mine:1@1"}')
    with pytest.raises(LoraResolverError) as caught:
        Resolver(config).resolve("mine:1@1")
    assert caught.value.code == "badAliases"


def test_offline_what_is_on_disk_works_and_the_rest_is_named(
    config: ResolverConfig, civitai: FaultyCivitai
) -> None:
    Resolver(config).resolve("civitai:7@70")
    before = len(civitai.requests)
    offline = Resolver(config.with_changes(offline=True))
    assert offline.resolve("civitai:7@70").path.name == "chalk.safetensors"
    assert offline.resolve("civitai:7@latest").path.name == "chalk.safetensors"
    with pytest.raises(LoraResolverError) as caught:
        offline.resolve("civitai:8@latest")
    assert caught.value.code == "offline", "not that the service has none"
    assert "civitai:8@latest" in str(caught.value)
    with pytest.raises(SeveralErrors) as caught:
        offline.resolve_all([INK, "civitai:7", "civitai:7@70"], places=["lora[0]", "lora[1]", "lora[2]"])
    assert [(error.parameter, error.code) for error in caught.value.errors] == [
        ("lora[0]", "offline"),
        ("lora[1]", "versionMissing"),
    ]
    assert "civitai:7@70" in str(caught.value.errors[1])
    assert len(civitai.requests) == before


def test_a_copied_store_is_still_a_store(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    lora = Resolver(config).resolve(INK)
    lora.path.touch()  # as copying does
    before = len(civitai.requests)
    assert Resolver(config).find_local(INK) is None  # uncertain without hashing
    assert Resolver(config).resolve(INK).downloaded is False
    assert Resolver(config).find_local(INK) == lora.path
    assert len(civitai.requests) == before


def test_a_file_that_somebody_changed_is_neither_used_nor_overwritten(config: ResolverConfig) -> None:
    lora = Resolver(config).resolve(INK)
    changed = lora.path.read_bytes()[:-1] + b"?"
    lora.path.write_bytes(changed)
    before = everything_in(config.download_dir)
    with pytest.raises(LoraResolverError) as caught:
        Resolver(config).resolve(INK)
    assert caught.value.code == "fileInTheWay"
    assert everything_in(config.download_dir) == before


class Cancelled(Exception):
    pass


def _cancel_after(seconds: float, reports: list[Progress]):
    deadline = time.monotonic() + seconds

    def on_progress(progress: Progress) -> None:
        reports.append(progress)
        if time.monotonic() > deadline:
            raise Cancelled

    return on_progress


@pytest.mark.parametrize(
    ("stage", "stall"),
    [
        ("version", fault.silent),
        ("download", fault.silent),
        ("deliver", fault.silent),
        ("deliver", fault.stalls_after(70_000)),
    ],
)
def test_cancelling_ends_a_stalled_download_within_a_second(
    config: ResolverConfig, civitai: FaultyCivitai, stage: str, stall: fault.Fault
) -> None:
    civitai.faults[stage] = stall
    reports: list[Progress] = []
    started = time.monotonic()
    with pytest.raises(Cancelled):
        Resolver(config.with_changes(read_timeout=120.0, connections=1)).resolve(
            INK, on_progress=_cancel_after(0.3, reports)
        )
    assert (
        time.monotonic() - started < 30
    )  # of the 120 s until the time-out; on an idle machine, it takes 1 s
    civitai.faults.clear()
    assert Resolver(config).resolve(INK).downloaded is True


def test_cancelling_keeps_what_can_be_resumed(config: ResolverConfig, civitai: FaultyCivitai) -> None:
    civitai.faults["deliver"] = fault.stalls_after(35_000)

    def cancel_when_all_stall(progress: Progress) -> None:
        if progress.phase == "download" and progress.done == config.connections * 35_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        Resolver(config.with_changes(read_timeout=120.0)).resolve(INK, on_progress=cancel_when_all_stall)
    civitai.faults.clear()
    civitai.requests.clear()
    Resolver(config).resolve(INK)
    ranges = [
        request.headers["range"] for request in civitai.requests if request.path.startswith("/delivery")
    ]
    assert "bytes=0-39999" not in ranges
    assert "bytes=35000-39999" in ranges


def test_progress_comes_in_the_callers_thread_and_grows(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = fault.slowly(30_000)
    reports: list[tuple[float, int, Progress]] = []
    Resolver(config).resolve(
        INK, on_progress=lambda each: reports.append((time.monotonic(), threading.get_ident(), each))
    )
    assert {thread for _, thread, _ in reports} == {threading.get_ident()}
    seconds = reports[-1][0] - reports[0][0]
    assert 2 <= len(reports) <= 10 * seconds + 2
    downloading = [each for _, _, each in reports if each.phase == "download"]
    assert [each.done for each in downloading] == sorted(each.done for each in downloading)
    assert downloading[-1].total == ink.file.stat().st_size
    assert downloading[-1].file_name == "ink.safetensors"
    assert downloading[-1].bytes_per_second > 0
    assert reports[-1][2].phase == "done"
