"""The page with all packs: our files cause no errors, and the badge's checkpoint is the one in the prompt."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from tests_beside.test_runs import needs
from tools.browser import ARGUMENTS, installed_browser
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests_beside.conftest import Beside

OURS = "/extensions/air-lora/"
OTHER = "sdxl-beside.safetensors"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_browser(), args=ARGUMENTS)
        yield browser
        browser.close()


def opened(browser: Browser, beside: Beside, errors: list[str] | None = None) -> Page:
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.set_default_timeout(60_000)
    if errors is not None:
        page.on("pageerror", lambda error: errors.append(str(error.stack)))
        page.on(
            "console",
            lambda said: (
                errors.append(said.text) if said.type == "error" and OURS in str(said.location) else None
            ),
        )
    page.goto(beside.process.url)
    page.wait_for_function("() => Boolean(window.app?.graph && LiteGraph.registered_node_types.KSampler)")
    page.wait_for_function("() => document.querySelector('.p-blockui-mask, #splash-loader') === null")
    return page


@pytest.fixture(scope="module")
def page(browser: Browser, with_ours: Beside) -> Iterator[Page]:
    (with_ours.process.base / "models" / "checkpoints" / OTHER).write_bytes(b"")
    errors: list[str] = []
    page = opened(browser, with_ours, errors)
    yield page
    page.close()
    assert [each for each in errors if OURS in each] == []


BUILD = """async ({nodes, links}) => {
  app.graph.clear();
  const made = {};
  for (const [name, {type, widgets = {}, mode = 0}] of Object.entries(nodes)) {
    const node = made[name] = LiteGraph.createNode(type);
    app.graph.add(node);
    node.pos = [300 * Object.keys(made).length, 100];
    for (const [key, value] of Object.entries(widgets)) {
      const widget = node.widgets.find((each, number) => each.name === key || String(number) === key);
      widget.value = value;
      widget.callback?.(value, app.canvas, node);
    }
    node.mode = mode;
  }
  await new Promise((done) => setTimeout(done, 300));
  for (const [from, output, to, input] of links) {
    const out = made[from].outputs.findIndex((each) => each.name === output || each.type === output);
    const slot = made[to].inputs.findIndex((each) => each.name === input);
    made[from].connect(Math.max(out, 0), made[to], Math.max(slot, 0));
  }
  await new Promise((done) => setTimeout(done, 500));
}"""
# The checkpoint that our node's row is compared with, and the one that the prompt would load.
SHOWN = """async () => {
  const asked = [];
  const fetchApi = app.api?.fetchApi ?? window.comfyAPI.api.api.fetchApi;
  const api = window.comfyAPI.api.api;
  api.fetchApi = function (path, options) {
    if (path.startsWith("/air_lora/")) asked.push(JSON.parse(options?.body ?? "{}").checkpoint ?? null);
    return fetchApi.call(api, path, options);
  };
  const node = app.graph.nodes.find((each) => each.type === "AirLoraApply");
  const widget = node.widgets.find((each) => each.name === "lora");
  widget.value = JSON.stringify([{model: `local:${Math.random()}.safetensors`}]);
  await new Promise((done) => setTimeout(done, 2500));
  api.fetchApi = fetchApi;
  return asked.length ? asked.at(-1)?.name ?? null : "nothing was asked";
}"""

LOADERS = {
    "a": {"type": "CheckpointLoaderSimple", "widgets": {"ckpt_name": CHECKPOINT}},
    "b": {"type": "CheckpointLoaderSimple", "widgets": {"ckpt_name": OTHER}},
    "apply": {"type": "AirLoraApply"},
}


def graph(nodes: dict[str, Any], *links: tuple[str, str, str, str], **modes: int) -> dict[str, Any]:
    everything = {**LOADERS, **nodes}
    return {
        "nodes": {name: {**node, "mode": modes.get(name, 0)} for name, node in everything.items()},
        "links": [list(link) for link in links],
    }


def switch(kind: str, first: str, second: str, widgets: dict[str, Any], **modes: int) -> dict[str, Any]:
    nodes = {"switch": {"type": kind, "widgets": widgets}}
    links = (
        ("a", "MODEL", "switch", first),
        ("b", "MODEL", "switch", second),
        ("switch", "*", "apply", "model"),
    )
    return graph(nodes, *links, **modes)


def set_and_get(setter: str, getter: str) -> dict[str, Any]:
    nodes = {name: {"type": kind, "widgets": {"0": "m"}} for name, kind in (("set", setter), ("get", getter))}
    return graph(nodes, ("b", "MODEL", "set", "*"), ("get", "*", "apply", "model"))


CASES = {
    "rgthree's switch": (
        "Any Switch (rgthree)",
        switch("Any Switch (rgthree)", "any_01", "any_02", {}),
        CHECKPOINT,
    ),
    "rgthree's switch, the first muted": (
        "Any Switch (rgthree)",
        switch("Any Switch (rgthree)", "any_01", "any_02", {}, a=2),
        OTHER,
    ),
    "rgthree's contexts": (
        "Context (rgthree)",
        graph(
            {"one": {"type": "Context (rgthree)"}, "two": {"type": "Context (rgthree)"}},
            ("a", "MODEL", "one", "model"),
            ("one", "CONTEXT", "two", "base_ctx"),
            ("two", "MODEL", "apply", "model"),
        ),
        CHECKPOINT,
    ),
    "Comfyroll's switch": (
        "CR Model Input Switch",
        switch("CR Model Input Switch", "model1", "model2", {"Input": 2}),
        OTHER,
    ),
    "KJNodes' switch": (
        "LazySwitchKJ",
        switch("LazySwitchKJ", "on_false", "on_true", {"switch": True}),
        OTHER,
    ),
    "Easy Use's switch": (
        "easy anythingIndexSwitch",
        switch("easy anythingIndexSwitch", "value0", "value1", {"index": 1}),
        OTHER,
    ),
    "KJNodes' Set and Get": ("LazySwitchKJ", set_and_get("SetNode", "GetNode"), OTHER),
    "Easy Use's Set and Get": (
        "easy anythingIndexSwitch",
        set_and_get("easy setNode", "easy getNode"),
        OTHER,
    ),
    "a bypassed LoRA": (
        "CheckpointLoaderSimple",
        graph(
            {"lora": {"type": "LoraLoaderModelOnly"}},
            ("a", "MODEL", "lora", "model"),
            ("lora", "MODEL", "apply", "model"),
            lora=4,
        ),
        CHECKPOINT,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_badge_follows_what_the_prompt_would(name: str, page: Page, with_ours: Beside) -> None:
    kind, built, expected = CASES[name]
    needs(with_ours, kind)
    page.evaluate(BUILD, built)
    assert page.evaluate(SHOWN) == expected


def test_use_everywhere(page: Page, with_ours: Beside) -> None:
    needs(with_ours, "Anything Everywhere")
    page.evaluate(
        BUILD,
        graph({"ue": {"type": "Anything Everywhere"}}, ("a", "MODEL", "ue", "anything")),
    )
    # It records its links when it reads the graph, as it does for a prompt.
    prompt = page.evaluate("async () => (await app.ue_modified_prompt()).output")
    (sent,) = [
        node["inputs"].get("model") for node in prompt.values() if node["class_type"] == "AirLoraApply"
    ]
    assert sent is not None, "Use Everywhere links it"
    assert page.evaluate(SHOWN) == CHECKPOINT


def test_what_the_page_costs(browser: Browser, with_ours: Beside, without: Beside) -> None:
    """Only printed, because a limit would fail on a busy machine."""
    times: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(5):
        for name, beside in (("with", with_ours), ("without", without)):
            start = time.perf_counter()
            page = opened(browser, beside)
            times[name].append(time.perf_counter() - start)
            page.close()
    ours, theirs = median(times["with"]), median(times["without"])
    print(f"\nthe page: {ours:.2f} s with us, {theirs:.2f} s without ({ours / theirs:.2f})")
