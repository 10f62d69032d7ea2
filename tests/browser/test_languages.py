"""The page in Chinese, Japanese, and German: nodes, rows, and settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import LOCAL
from tests.browser.test_help import close_help, open_help
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def texts(language: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "locales" / language / f"{name}.json").read_text("utf-8"))
    return content


def speak(comfy: ComfyPage, language: str) -> None:
    """Reloads the page in this language."""
    comfy.page.evaluate("(language) => app.extensionManager.setting.set('Comfy.Locale', language)", language)
    comfy.open()


@pytest.fixture(scope="module", autouse=True)
def as_before(shared_page: ComfyPage) -> Iterator[None]:
    yield
    speak(shared_page, "en")  # reloading the page also closes the dialog


def test_german_is_there_where_the_front_end_takes_it(comfy: ComfyPage) -> None:
    """The newer front end doesn't support German and uses English. None of our texts may then be in German."""
    speak(comfy, "de")
    if comfy.page.evaluate("() => app.extensionManager.setting.get('Comfy.Locale')") == "de":
        all_speaks(comfy, "de")
        return
    comfy.load([{"model": LOCAL, "weight": 0.5}])
    expect(comfy.page.get_by_test_id("add")).to_contain_text("Add LoRA")
    assert comfy.page.evaluate("() => app.graph.nodes.map((node) => node.title)")[1] == "Apply LoRA Array"


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_all_of_it_speaks_the_language(comfy: ComfyPage, language: str) -> None:
    speak(comfy, language)
    all_speaks(comfy, language)


def all_speaks(comfy: ComfyPage, language: str) -> None:
    node, row, settings = (texts(language, name) for name in ("nodeDefs", "main", "settings"))
    node, row = node["AirLoraApply"], row["airLora"]
    comfy.load([{"model": LOCAL, "weight": 0.5}])
    expect(comfy.page.get_by_test_id("add")).to_contain_text(row["addLora"])
    expect(comfy.row(0).get_by_test_id("row-state")).to_have_text(row["stateOnDisk"])
    shown = comfy.page.evaluate(
        """() => {
          const node = app.graph.nodes.find((each) => each.type === "AirLoraApply");
          const label = (list, name) => {
            const each = list.find((one) => one.name === name);
            return each.label || each.localized_name;
          };
          const { inputs, widgets, outputs } = node;
          return [node.title, label(inputs, "lora_stack"), label(widgets, "on_mismatch"), label(outputs, "report")];
        }"""
    )
    inputs, outputs = node["inputs"], node["outputs"]
    assert shown == [
        node["display_name"],
        inputs["lora_stack"]["name"],
        inputs["on_mismatch"]["name"],
        outputs["3"]["name"],
    ]
    comfy.screenshot(f"language-{language}")

    help_page = open_help(comfy)
    expect(help_page.get_by_role("heading", name=node["display_name"])).to_be_visible()
    expect(help_page).to_contain_text(row["addLora"])
    comfy.screenshot(f"language-{language}-help")
    close_help(comfy)

    comfy.page.evaluate("() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    dialog = comfy.page.get_by_role("dialog").last
    dialog.get_by_text("AIR LoRA", exact=True).first.click()
    for key in ("AirLora_Downloads_Store", "AirLora_Widget_Step", "AirLora_Nodes_OnMismatch"):
        expect(dialog.get_by_text(settings[key]["name"], exact=True).first).to_be_visible()
    expect(dialog.get_by_test_id("setting-civitai-note")).to_have_text(row["tokenNotSet"])
    comfy.screenshot(f"language-{language}-settings")
