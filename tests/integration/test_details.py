"""The routes for a row's Info, newer versions, and suggested weights, in the real ComfyUI."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests import lora_files
from tests.browser.many_states import copy_noted
from tests.integration.conftest import TOKEN
from tools.civitai_server import CatalogueEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Studio
    from tests.integration.route_client import Routes

pytestmark = pytest.mark.integration

OLD, NEW, OTHER_BASE = "civitai:801@1801", "civitai:801@1803", "civitai:801@1802"


@pytest.fixture(scope="module")
def versions(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A model with three versions. The newest has another base model than the middle one."""
    folder = tmp_path_factory.mktemp("versions")
    source = next(entry.file for entry in studio.civitai.catalogue if entry.model_id == 101)
    for number in (1801, 1802, 1803):
        copy_noted(source, folder / f"{number}.safetensors", str(number))
    first = CatalogueEntry(
        801,
        1801,
        "Three versions",
        folder / "1801.safetensors",
        suggested=(0.6, 0.4, 0.8),
        trigger_words=("one", "two"),
        description="<p>What it is.</p><script>bad()</script><p>And <b>more</b>.</p>",
    )
    second = replace(
        first,
        version_id=1802,
        file=folder / "1802.safetensors",
        version_name="v1 XL",
        base_model="SDXL 1.0",
        suggested=(1, -1, 2),
    )
    third = replace(
        first,
        version_id=1803,
        file=folder / "1803.safetensors",
        version_name="v2.0",
        published="2026-05-06",
        about="<p>Better.</p>",
        suggested=(1, -1, 2),
    )
    before = studio.civitai.catalogue
    studio.civitai.catalogue = (*before, third, second, first)
    yield
    studio.civitai.catalogue = before


def asked_for_model(studio: Studio, model: int) -> int:
    return sum(request.path == f"/api/v1/models/{model}" for request in studio.civitai.requests)


@pytest.mark.usefixtures("versions")
def test_newer_versions_are_asked_for_once_a_day(routes: Routes, studio: Studio) -> None:
    before = asked_for_model(studio, 801)
    found = routes.found(
        "newer", {"models": [OLD, NEW, OTHER_BASE, "local:nothing.safetensors", "not a name"]}
    )
    assert {model: each["model"] for model, each in found["newer"].items()} == {OLD: NEW}
    assert found["newer"][OLD] == {
        "model": NEW,
        "version": "v2.0",
        "base_model": "SD 1.5",
        "published": "2026-05-06",
    }
    assert found["unknown"] == []
    assert found["weights"] == {OLD: {"weight": 0.6, "least": 0.4, "most": 0.8, "source": "CivitAI"}}
    asked = asked_for_model(studio, 801)
    assert asked == before + 3
    assert routes.found("newer", {"models": [OLD, NEW, OTHER_BASE]}) == found
    assert asked_for_model(studio, 801) == asked
    kept = next((studio.process.base / "user").rglob("versions.json"))
    known = json.loads(kept.read_text())
    assert all(time.time() - each["asked"] < 600 for each in known.values())
    assert TOKEN not in kept.read_text()


@pytest.mark.usefixtures("versions")
def test_details_have_all_that_the_page_and_the_file_say(routes: Routes) -> None:
    found = routes.found("details", {"model": OLD})
    assert found["page_error"] is None
    page = found["page"]
    assert page["description"] == "What it is.\n\nAnd more."
    assert (page["creator"], page["tags"]) == ("demo", ["style", "demo"])
    assert page["licence"] == {
        "name": "",
        "credit_needed": False,
        "commercial": ["Image", "RentCivit"],
        "derivatives": True,
        "same_licence": True,
    }
    assert [(each["model"], each["is_current"], each["is_newer"]) for each in page["versions"]] == [
        (NEW, False, True),
        (OTHER_BASE, False, False),
        (OLD, True, False),
    ]
    assert all(each["size"] > 10_000 for each in page["versions"])
    assert found["item"]["suggested_weight"]["weight"] == 0.6
    assert found["item"]["trigger_words"] == ["one", "two"]
    assert found["file"]["tensors"] > 10
    assert ["note", "1801"] in found["file"]["notes"]


@pytest.mark.usefixtures("versions")
def test_a_row_that_names_a_version_alone_is_known_too(routes: Routes) -> None:
    routes.found("info", {"models": ["civitai:@1801"]})
    found = routes.found("newer", {"models": ["civitai:@1801"]})
    assert found["newer"]["civitai:@1801"]["model"] == NEW
    assert [
        each["is_current"] for each in routes.found("details", {"model": "civitai:@1801"})["page"]["versions"]
    ] == [
        False,
        False,
        True,
    ]


def test_details_of_a_file_of_ones_own(routes: Routes, studio: Studio) -> None:
    path = studio.process.base / "models/loras/mine/trained.safetensors"
    metadata = {
        "ss_network_dim": "16",
        "ss_learning_rate": "1e-4",
        "ss_tag_frequency": json.dumps({"10_x": {"x": 20, "blue": 12, "sky": 3}}),
        "ss_bucket_info": "{" + "1" * 600 + "}",
        "zz_custom": "<b>plain</b>",
        "ss_v2": "None",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    lora_files.write_lora(path, lora_files.modules_of("sd15"), metadata=metadata)
    path.with_suffix(".json").write_text('{"preferred weight": 0.45}')
    found = routes.found("details", {"model": "local:mine/trained.safetensors"})
    assert (found["page"], found["page_error"], found["pictures"]) == (None, None, [])
    assert found["file"]["notes"] == [
        ["ss_network_dim", "16"],
        ["ss_learning_rate", "1e-4"],
        ["zz_custom", "<b>plain</b>"],
    ]
    assert found["file"]["long"] == ["ss_bucket_info"]
    assert found["file"]["tags"] == [["x", 20], ["blue", 12], ["sky", 3]]
    assert found["item"]["suggested_weight"] == {
        "weight": 0.45,
        "least": None,
        "most": None,
        "source": "A1111",
    }
    assert str(studio.process.base) not in json.dumps(found)


def test_details_of_what_cannot_be_had_say_why(routes: Routes) -> None:
    found = routes.found("details", {"model": "civitai:9999@99999"})
    assert (found["page"], found["page_error"]["code"], found["file"]) == (None, "notFound", None)
    assert found["item"]["state"] == "not_found"
    assert routes.post("details", {"model": "no: such: name"}).code != ""
    assert routes.post("details", {}).status == 400


@pytest.mark.usefixtures("versions")
def test_pictures_beyond_the_first_have_numbers(routes: Routes) -> None:
    assert routes.get("thumbnail?model=civitai%3A801%401801&number=0").status == 404, "it has no picture"
    assert routes.get("thumbnail?model=civitai%3A801%401801&number=x").status == 400


def test_versions_say_what_is_new(routes: Routes, versions: None) -> None:
    assert versions is None
    listed: list[dict[str, Any]] = routes.found("versions", {"model": OLD})["versions"]
    assert [(each["model"], each["published"], each["about"]) for each in listed] == [
        (NEW, "2026-05-06", "Better."),
        (OTHER_BASE, "2026-01-01", ""),
        (OLD, "2026-01-01", ""),
    ]
