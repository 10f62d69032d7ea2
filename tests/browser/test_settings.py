"""The settings in ComfyUI's own dialog: what they store, what they never show, and the defaults for a new row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Response

    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

TOKEN = "a-made-up-token-of-a-test"
PAGE_SETTINGS = {
    "AirLora.Widget.Step": 0.05,
    "AirLora.Widget.Min": -4,
    "AirLora.Widget.Max": 4,
    "AirLora.Widget.DefaultWeight": 0.75,
    "AirLora.Nodes.OnMismatch": "error",
}


def open_settings(comfy: ComfyPage) -> Locator:
    """Opens the dialog with our settings."""
    comfy.page.evaluate("() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    dialog = comfy.page.get_by_role("dialog").last
    dialog.get_by_text("AIR LoRA", exact=True).first.click()
    dialog.get_by_test_id("setting-civitai").wait_for()
    return dialog


def set_here(comfy: ComfyPage, name: str, value: object) -> None:
    comfy.page.evaluate("([id, value]) => app.extensionManager.setting.set(id, value)", [name, value])


def on_server(comfy: ComfyPage) -> dict[str, Any]:
    said: dict[str, Any] = comfy.page.evaluate("async () => (await fetch('/air_lora/settings')).json()")
    return said


def close_dialogs(comfy: ComfyPage) -> None:
    """Waits until they are closed, because a dialog that is requested while it closes isn't opened again."""
    dialogs = comfy.page.get_by_role("dialog")
    while dialogs.count():
        comfy.page.keyboard.press("Escape")
        try:
            expect(dialogs).to_have_count(0, timeout=3_000)
        except AssertionError:
            comfy.screenshot("dialog-that-stays")


@pytest.fixture(autouse=True)
def as_before(comfy: ComfyPage) -> Iterator[None]:
    yield
    close_dialogs(comfy)
    for name, value in PAGE_SETTINGS.items():
        set_here(comfy, name, value)
    comfy.page.evaluate(
        "async () => { const post = (path, body) => fetch(path, { method: 'POST', body: JSON.stringify(body),"
        " headers: { 'Content-Type': 'application/json' } });"
        "await post('/air_lora/token', { service: 'civitai', token: null });"
        "for (const key of ['AIR_LORA_OFFLINE', 'AIR_LORA_CONNECTIONS', 'AIR_LORA_DIR'])"
        " await post('/air_lora/settings', { key, value: null }) }"
    )


def test_all_settings_are_in_comfyui_s_dialog(comfy: ComfyPage) -> None:
    dialog = open_settings(comfy)
    for label in (
        "CivitAI token",
        "Hugging Face token",
        "Download folder",
        "Parallel connections",
        "Offline",
        "Shared store",
        "Weight of new LoRAs",
        "Weight step",
        "Minimum weight",
        "Maximum weight",
        "When a LoRA is incompatible",
    ):
        expect(dialog.get_by_text(label, exact=True).first).to_be_visible()
    comfy.screenshot("settings")


def test_a_token_goes_in_and_never_comes_out(comfy: ComfyPage) -> None:
    answers: list[Response] = []

    def note(answer: Response) -> None:
        answers.append(answer)

    comfy.page.on("response", note)
    dialog = open_settings(comfy)
    expect(dialog.get_by_test_id("setting-civitai-note")).to_have_text("Not set")
    dialog.get_by_test_id("setting-civitai-input").fill(TOKEN)
    dialog.get_by_test_id("setting-civitai-save").click()
    expect(dialog.get_by_test_id("setting-civitai-note")).to_have_text("Set")
    expect(dialog.get_by_test_id("setting-civitai-input")).to_have_value("")
    comfy.screenshot("settings-token")
    assert on_server(comfy)["tokens"]["civitai"] is True
    assert TOKEN not in comfy.page.content()
    comfy.page.remove_listener("response", note)
    ours = [answer.text() for answer in answers if "/air_lora/" in answer.url]
    assert ours
    assert not any(TOKEN in text for text in ours)
    kept_by_comfyui = comfy.page.evaluate("async () => (await fetch('/settings')).text()")
    assert TOKEN not in kept_by_comfyui

    dialog.get_by_test_id("setting-civitai-remove").click()
    expect(dialog.get_by_test_id("setting-civitai-note")).to_have_text("Not set")
    expect(dialog.get_by_test_id("setting-civitai-remove")).to_be_hidden()


def test_a_token_that_cannot_be_is_refused_in_words(comfy: ComfyPage) -> None:
    dialog = open_settings(comfy)
    dialog.get_by_test_id("setting-civitai-input").fill("tök en")
    dialog.get_by_test_id("setting-civitai-save").click()
    note = dialog.get_by_test_id("setting-civitai-note")
    expect(note).to_have_attribute("data-kind", "fault")
    expect(note).not_to_contain_text("tök en")
    assert on_server(comfy)["tokens"]["civitai"] is False


def test_offline_and_connections_are_the_server_s(comfy: ComfyPage) -> None:
    dialog = open_settings(comfy)
    dialog.get_by_test_id("setting-offline-input").click()
    expect(dialog.get_by_test_id("setting-offline-input")).to_have_attribute("aria-checked", "true")
    connections = dialog.get_by_test_id("setting-connections-input")
    connections.fill("3")
    connections.press("Tab")
    expect(connections).to_be_enabled()
    values = on_server(comfy)["values"]
    assert (values["AIR_LORA_OFFLINE"], values["AIR_LORA_CONNECTIONS"]) == ("1", "3")
    connections.fill("0")
    connections.press("Tab")
    expect(dialog.get_by_test_id("setting-connections-note")).to_have_attribute("data-kind", "fault")
    assert on_server(comfy)["values"]["AIR_LORA_CONNECTIONS"] == "3"


def test_what_the_environment_says_is_shown_and_cannot_be_edited(comfy: ComfyPage) -> None:
    def held(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        body["from_environment"] += ["CIVITAI_API_TOKEN", "AIR_LORA_OFFLINE"]
        body["tokens"]["civitai"] = True
        route.fulfill(response=answer, json=body)

    comfy.page.route("**/air_lora/settings", held)
    try:
        dialog = open_settings(comfy)
        expect(dialog.get_by_test_id("setting-civitai-note")).to_contain_text("CIVITAI_API_TOKEN")
        expect(dialog.get_by_test_id("setting-civitai-input")).to_be_disabled()
        expect(dialog.get_by_test_id("setting-civitai-save")).to_be_disabled()
        expect(dialog.get_by_test_id("setting-civitai-remove")).to_be_hidden()
        expect(dialog.get_by_test_id("setting-offline-input")).to_be_disabled()
        expect(dialog.get_by_test_id("setting-huggingface-input")).to_be_enabled()
        comfy.screenshot("settings-held")
    finally:
        comfy.page.unroute("**/air_lora/settings")


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ("", "Not set. To use a shared store, set AIR_LORA_STORE and restart ComfyUI."),
        ("elsewhere", "A folder on this server"),
        ("s3://bucket/loras", "s3://bucket/loras"),
    ],
    ids=["none", "folder", "bucket"],
)
def test_the_shared_store_is_shown(comfy: ComfyPage, store: str, shown: str) -> None:
    def with_store(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        body["values"]["AIR_LORA_STORE"] = store
        route.fulfill(response=answer, json=body)

    comfy.page.route("**/air_lora/settings", with_store)
    try:
        expect(open_settings(comfy).get_by_test_id("setting-store-value")).to_have_text(shown)
    finally:
        comfy.page.unroute("**/air_lora/settings")


def test_rows_take_step_range_and_default_weight(comfy: ComfyPage) -> None:
    set_here(comfy, "AirLora.Widget.Step", 0.1)
    set_here(comfy, "AirLora.Widget.Max", 0.85)
    set_here(comfy, "AirLora.Widget.DefaultWeight", 0.6)
    comfy.load([])
    comfy.paste("civitai:1@2")
    expect(comfy.rows).to_have_count(1)
    assert comfy.array[0]["weight"] == 0.6
    comfy.weight(0).press("ArrowUp")
    assert comfy.array[0]["weight"] == 0.7
    comfy.weight(0).press("Shift+ArrowUp")
    assert comfy.array[0]["weight"] == 0.85


def test_new_nodes_start_with_the_policy_and_old_ones_keep_theirs(comfy: ComfyPage) -> None:
    set_here(comfy, "AirLora.Nodes.OnMismatch", "skip")
    made = comfy.page.evaluate(
        "() => { const node = LiteGraph.createNode('AirLoraApply'); app.graph.add(node);"
        "return node.widgets.find((each) => each.name === 'on_mismatch').value }"
    )
    assert made == "skip"
    comfy.load([])
    loaded = comfy.page.evaluate(
        "() => app.graph.nodes.find((node) => node.type === 'AirLoraApply')"
        ".widgets.find((each) => each.name === 'on_mismatch').value"
    )
    assert loaded == "error"


def test_a_setting_changed_in_the_dialog_is_kept(comfy: ComfyPage) -> None:
    dialog = open_settings(comfy)
    weight = dialog.get_by_role("spinbutton", name=re.compile("Weight of new LoRAs"))
    weight.press("Control+a")
    weight.press_sequentially("0.55")
    weight.press("Tab")
    comfy.page.wait_for_function(
        "() => app.extensionManager.setting.get('AirLora.Widget.DefaultWeight') === 0.55"
    )
