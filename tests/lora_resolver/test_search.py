"""Searching the services for LoRAs, and what is known about files on this disk."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver import Resolver, declared_families, parse_identifier
from lora_resolver.errors import HostedOnly, NotFound, Offline, TransferFailed
from lora_resolver.on_disk import civitai_json
from lora_resolver.records import LoraRecord
from lora_resolver.sources.civitai import BASE_MODELS
from lora_resolver.sources.search import describe, fetch_picture, list_versions, search_civitai
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.civitai_server import CatalogueEntry, CivitaiServer
from tools.local_server import Exchange, LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lora_resolver import ResolverConfig


class _Civitai(CivitaiServer):
    """Has one archived model, and one of another type."""

    def version_document(self, lora: CatalogueEntry) -> dict[str, Any]:
        return {
            **super().version_document(lora),
            "usageControl": "Generation" if lora.model_id == 3 else "Download",
        }

    def _model_document(self, versions: Any) -> dict[str, Any]:
        document = super()._model_document(versions)
        return {**document, "mode": "Archived"} if document["id"] == 2 else document


@pytest.fixture(scope="module")
def civitai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Civitai]:
    folder = tmp_path_factory.mktemp("served")

    def entry(model: int, version: int, name: str, **more: Any) -> CatalogueEntry:
        return CatalogueEntry(
            model, version, name, write_safetensors(folder / f"{version}.safetensors", 400), **more
        )

    (folder / "large.png").write_bytes(b"x" * (9 * 1024**2))
    (folder / "small.png").write_bytes(b"small")
    with _Civitai(
        [
            entry(1, 13, "Ink", version_name="v3", base_model="Flux.1 D", preview=folder / "small.png"),
            entry(1, 12, "Ink", version_name="v2", base_model="Illustrious", preview=folder / "large.png"),
            entry(1, 11, "Ink", version_name="v1", base_model="SDXL 1.0"),
            entry(2, 21, "Inkblot", base_model="Pony"),
            entry(3, 31, "Ink wash", base_model="Pony"),
            entry(4, 41, "Ink model", base_model="Pony", kind="Checkpoint"),
        ]
    ) as server:
        yield server


@pytest.fixture
def config(civitai: _Civitai, tmp_path: Path) -> ResolverConfig:
    return quick_config(tmp_path / "loras", civitai_url=civitai.url)


def test_a_search_gives_the_newest_version_for_each_model(config: ResolverConfig) -> None:
    found, following = search_civitai(config, "ink")
    assert [listing.record.identifier for listing in found] == [
        "civitai:1@13",
        "civitai:2@21",
        "civitai:3@31",
    ]
    assert [listing.refused.code if listing.refused else None for listing in found] == [
        None,
        "archived",
        "downloadsDisabled",
    ]
    assert following is None
    assert found[0].record.preview_url


def test_a_search_for_a_checkpoint_gives_the_newest_version_that_fits(config: ResolverConfig) -> None:
    found, _ = search_civitai(config, "ink", families=["sdxl"])
    assert [listing.record.identifier for listing in found] == [
        "civitai:1@12",
        "civitai:2@21",
        "civitai:3@31",
    ]
    assert search_civitai(config, "ink", families=["sd3"])[0] == []


@pytest.mark.parametrize(
    ("sort", "said"), [("relevance", None), ("downloads", "Most Downloaded"), ("newest", "Newest")]
)
def test_a_search_is_sorted_as_the_site_calls_it(
    config: ResolverConfig, civitai: _Civitai, sort: str, said: str | None
) -> None:
    found, _ = search_civitai(config, "ink", sort=sort)
    assert civitai.requests[-1].query.get("sort") == said
    assert found[0].record.creator == "demo"


def test_a_search_page_by_page(config: ResolverConfig) -> None:
    first, following = search_civitai(config, "ink", limit=2)
    second, end = search_civitai(config, "ink", limit=2, cursor=following)
    assert [len(first), len(second), end] == [2, 1, None]


def test_every_base_model_that_is_asked_for_is_known() -> None:
    assert [name for name in BASE_MODELS if not declared_families(name)] == []


def test_versions(config: ResolverConfig) -> None:
    for text in ("civitai:1", "civitai:1@11", "civitai:@11", "civitai:1@latest"):
        versions = list_versions(config, parse_identifier(text))
        assert [listing.record.version_name for listing in versions] == ["v3", "v2", "v1"]
    with pytest.raises(NotFound):
        list_versions(config, parse_identifier("civitai:99"))


def test_one_record(config: ResolverConfig) -> None:
    assert describe(config, parse_identifier("civitai:1@latest")).identifier == "civitai:1@13"
    with pytest.raises(HostedOnly):
        describe(config, parse_identifier("runware:1@1"))
    with pytest.raises(NotFound):
        describe(config, parse_identifier("local:x.safetensors"))


def test_offline_nobody_is_asked(config: ResolverConfig, civitai: _Civitai) -> None:
    before = len(civitai.requests)
    with pytest.raises(Offline):
        search_civitai(config.with_changes(offline=True), "ink")
    assert len(civitai.requests) == before


def test_pictures(config: ResolverConfig, civitai: _Civitai) -> None:
    assert fetch_picture(config, f"{civitai.url}/previews/131") == b"small"
    with pytest.raises(TransferFailed, match="8,388,608 bytes"):
        fetch_picture(config, f"{civitai.url}/previews/121")
    with pytest.raises(TransferFailed, match="404"):
        fetch_picture(config, f"{civitai.url}/previews/999")


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "https://localhost:1/x", "file:///etc/passwd", "http://example.com/x"],
)
def test_pictures_of_the_own_network_are_not_fetched(config: ResolverConfig, url: str) -> None:
    with pytest.raises(TransferFailed) as raised:
        fetch_picture(config, url)
    assert raised.value.code == "redirectRefused"


class _Silent(LocalServer):
    """Sends a byte now and then, forever."""

    def answer(self, exchange: Exchange) -> None:
        exchange.send_head(HTTPStatus.OK, {"Content-Type": "application/json", "Content-Length": 10**6})
        for _ in range(600):
            exchange.handler.wfile.write(b" ")
            exchange.handler.wfile.flush()
            time.sleep(0.1)


def test_a_service_that_trickles_is_given_up(tmp_path: Path) -> None:
    with _Silent() as server:
        config = quick_config(tmp_path / "loras", civitai_url=server.url, read_timeout=20.0)
        with pytest.raises(TransferFailed) as raised:
            search_civitai(config, "ink", seconds=0.5)
    assert raised.value.code == "timedOut"


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"items": {}},
        {"items": [1, {}, {"id": 1}, {"id": "x", "modelVersions": [{"id": 1}]}], "metadata": 5},
    ],
)
def test_answers_that_make_no_sense_find_nothing(tmp_path: Path, document: Any) -> None:
    class Odd(LocalServer):
        def answer(self, exchange: Exchange) -> None:
            exchange.send_json(document)

    with Odd() as server:
        config = quick_config(tmp_path / "loras", civitai_url=server.url)
        if isinstance(document, list):
            with pytest.raises(TransferFailed):
                search_civitai(config, "ink")
        else:
            assert search_civitai(config, "ink") == ([], None)


# Files on this disk


def test_files_on_this_disk_by_every_name_that_they_have(tmp_path: Path) -> None:
    config = quick_config(tmp_path / "loras")
    claimed = write_safetensors(config.download_dir / "sub" / "claimed.safetensors", 400)
    claimed.with_suffix(".civitai.info").write_text(
        json.dumps(
            {
                "id": 6,
                "modelId": 5,
                "name": "v1",
                "model": {"name": "Ink", "type": "LORA"},
                "trainedWords": ["ink"],
            }
        )
    )
    write_safetensors(config.download_dir / "plain.safetensors", 400, seed=2)
    by_claim, by_path, plain, missing, hosted = Resolver(config).local_files(
        [
            "civitai:5@6",
            "local:sub/claimed.safetensors",
            "local:plain.safetensors",
            "civitai:7@8",
            "runware:1@1",
        ]
    )
    assert by_claim is not None
    assert by_claim == by_path
    assert (by_claim.name, by_claim.title, by_claim.trigger_words) == (
        "sub/claimed.safetensors",
        "Ink v1",
        ("ink",),
    )
    assert by_claim.record is not None
    assert by_claim.record.version_name == "v1"
    assert by_claim.sha256 is None  # it was found without hashing
    assert plain is not None
    assert (plain.title, plain.record) == ("", None)
    assert missing is None
    assert hosted is None


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    config = quick_config(tmp_path / "loras")
    path = write_safetensors(config.download_dir / "a.safetensors", 400)
    (before,) = Resolver(config).local_files(["local:a.safetensors"])
    path.write_bytes(b"no lora at all")
    (after,) = Resolver(config).local_files(["local:a.safetensors"])
    assert before is not None
    assert after is not None
    assert (before.verdict != "unsound", after.verdict, after.size) == (True, "unsound", 14)


def test_the_listing_says_the_same_of_a_file(tmp_path: Path) -> None:
    config = quick_config(tmp_path / "loras")
    for number in range(3):
        write_safetensors(config.download_dir / f"{number}.safetensors", 400, seed=number)
    listed = Resolver(config).library()
    assert Resolver(config).local_files([f"local:{file.name}" for file in listed]) == listed


def test_words_from_the_file_itself_where_nobody_else_says_any(tmp_path: Path) -> None:
    config = quick_config(tmp_path / "loras")
    path = write_safetensors(config.download_dir / "a.safetensors", 400)
    path.with_suffix(".json").write_text('{"activation text": "ink wash, sumi"}')
    (file,) = Resolver(config).local_files(["local:a.safetensors"])
    assert file is not None
    assert file.trigger_words == ("ink wash", "sumi")
    assert Resolver(config).library() == [file]


PICTURES = [("pg13", 2), ("xxx", 16), ("pg", 1), ("r", 4)]


@pytest.mark.parametrize(
    ("most", "url", "is_above"), [(1, "pg", False), (2, "pg13", False), (16, "pg13", False), (0, "pg", True)]
)
def test_the_first_picture_at_or_below_the_level_is_the_one(most: int, url: str, is_above: bool) -> None:
    images = [{"url": name, "type": "image", "nsfwLevel": level} for name, level in PICTURES]
    images.insert(0, {"url": "film", "type": "video", "nsfwLevel": 1})
    record = civitai_json.lora_record({"id": 2, "modelId": 1, "images": images}, "https://civitai.example")
    assert record.picture(most) == (url, is_above)
    assert not record.only_films
    assert LoraRecord.from_dict(json.loads(json.dumps(record.as_dict()))).picture(most) == (url, is_above)


def test_films_alone_are_no_picture_and_that_is_known() -> None:
    images = [{"url": "film", "type": "video", "nsfwLevel": 1}]
    record = civitai_json.lora_record({"id": 2, "modelId": 1, "images": images}, "https://civitai.example")
    assert (record.preview_url, record.picture(1), record.only_films) == ("", ("", False), True)
    assert LoraRecord.from_dict(json.loads(json.dumps(record.as_dict()))).only_films


@pytest.mark.parametrize(
    ("image", "level"),
    [
        ({"nsfwLevel": 8}, 8), ({"nsfwLevel": "Mature"}, 4), ({"nsfw": "None"}, 1), ({"nsfw": True}, 8), ({}, 0),
        ({"nsfwLevel": -1}, 0), ({"nsfwLevel": 10**9}, 0), ({"nsfwLevel": [1]}, 0),
    ],
)  # fmt: skip
def test_the_level_of_a_picture_in_every_way_that_the_site_wrote_it(
    image: dict[str, Any], level: int
) -> None:
    images = [{"url": "a", **image}]
    record = civitai_json.lora_record({"id": 2, "modelId": 1, "images": images}, "https://civitai.example")
    assert record.preview_level == level


@pytest.mark.parametrize(("level", "nsfw"), [(1, "false"), (2, "false"), (4, "true"), (16, "true")])
def test_a_search_asks_for_no_more_than_the_level(
    config: ResolverConfig, civitai: _Civitai, level: int, nsfw: str
) -> None:
    search_civitai(config.with_changes(picture_level=level), "ink")
    assert civitai.requests[-1].query["nsfw"] == nsfw
