"""What each node of the pack needs: a help page, a translation of every name, and an explanation."""

from __future__ import annotations

import json

import air_lora_pack.nodes
import pytest
from comfy_api.latest import io

from tests.conftest import ROOT

SCHEMAS = [
    each.GET_SCHEMA()
    for each in vars(air_lora_pack.nodes).values()
    if isinstance(each, type) and issubclass(each, io.ComfyNode)
]
TRANSLATIONS = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))


@pytest.fixture(params=SCHEMAS, ids=lambda schema: schema.node_id)
def schema(request: pytest.FixtureRequest) -> io.Schema:
    return request.param


def test_its_id_and_place_are_the_pack_s(schema: io.Schema) -> None:
    assert schema.node_id.startswith("AirLora")
    assert schema.category == "loaders/AIR LoRA"
    assert schema.description


def test_its_help_page_names_every_input_and_output(schema: io.Schema) -> None:
    page = (ROOT / "web" / "docs" / f"{schema.node_id}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {schema.display_name}\n")
    for each in (*(entry.id for entry in schema.inputs), *(entry.display_name for entry in schema.outputs)):
        assert f"`{each}`" in page


def test_every_name_of_it_can_be_translated(schema: io.Schema) -> None:
    entry = TRANSLATIONS[schema.node_id]
    assert entry["display_name"] == schema.display_name
    assert entry["description"] == schema.description
    assert list(entry["inputs"]) == [each.id for each in schema.inputs]
    assert list(entry.get("outputs", {})) == [str(number) for number in range(len(schema.outputs))]


def test_no_translation_is_left_over() -> None:
    assert sorted(TRANSLATIONS) == sorted(schema.node_id for schema in SCHEMAS)
