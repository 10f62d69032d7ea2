"""The real ComfyUI with the pack, its real page, and a real browser, for each front end and each renderer."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.comfy_page import ComfyPage
from tests.browser.many_states import BrowserStage
from tests.conftest import comfyui_path
from tools.browser import ARGUMENTS, FRONT_ENDS, ensure_front_end, installed_browser
from tools.comfy_process import ComfyProcess
from tools.runtime import RUNTIME, Comfyui, venv_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.OnboardingCoachmarks.Seen": ["appMode", "firstRun"],
    "Comfy.Locale": "en",
    "Comfy.Workflow.Persist": False,
}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserStage]:
    with BrowserStage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture(scope="session", params=FRONT_ENDS, ids=[f"front-end-{each}" for each in FRONT_ENDS])
def comfyui(
    request: pytest.FixtureRequest, stage: BrowserStage, python_of_comfyui: Path
) -> Iterator[tuple[str, ComfyProcess]]:
    """The version of the front end, and the running server that serves it."""
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    arguments = ("--front-end-root", str(ensure_front_end(request.param)))
    with ComfyProcess(comfyui, stage.base, environment=stage.environment, arguments=arguments) as process:
        yield request.param, process


_AFTER_THE_LAST = ExitStack()

# Long enough for a busy machine. A state that is never reached still fails.
expect.set_options(timeout=20_000)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Stops Playwright after the last test of this folder, because its event loop would conflict with other tests'."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        _AFTER_THE_LAST.close()


@pytest.fixture(scope="session")
def browser() -> Browser:
    """One browser for all tests of this folder."""
    playwright = _AFTER_THE_LAST.enter_context(sync_playwright())
    playwright.selectors.set_test_id_attribute("data-air-lora")
    browser = playwright.chromium.launch(executable_path=installed_browser(), args=ARGUMENTS)
    _AFTER_THE_LAST.callback(browser.close)
    return browser


@pytest.fixture(scope="session", params=[False, True], ids=["canvas", "nodes-2.0"])
def shared_page(
    request: pytest.FixtureRequest, comfyui: tuple[str, ComfyProcess], browser: Browser
) -> Iterator[ComfyPage]:
    version, process = comfyui
    for name, value in {**SETTINGS, "Comfy.VueNodes.Enabled": request.param}.items():
        _set(f"{process.url}/settings/{name}", value)
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=process.url)
    name = f"{version}-{'vue' if request.param else 'canvas'}"
    page.set_default_timeout(30_000)
    comfy = ComfyPage(page, process.url, RUNTIME / "screenshots" / name)
    comfy.open()
    yield comfy
    if browser.is_connected():
        page.close()


@pytest.fixture
def comfy(shared_page: ComfyPage) -> Iterator[ComfyPage]:
    """The page with an empty graph. A console error from our files fails the test."""
    shared_page.start_over()
    yield shared_page
    assert shared_page.errors == []


def _set(address: str, value: object) -> None:
    request = urllib.request.Request(address, json.dumps(value).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30):
        pass
