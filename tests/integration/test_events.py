"""The events that ComfyUI's page receives over the websocket while the node works."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import connect
from tests.integration.conftest import Studio, air, tiny

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

BINARY_TEXT = 3
"""ComfyUI's protocol: a binary message begins with its type in four bytes. This type is text for a node."""


def events_of(studio: Studio, workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All events of one run."""
    client_id = uuid.uuid4().hex
    address = studio.client.url.replace("http://", "ws://") + f"/ws?clientId={client_id}"
    with connect(address, max_size=None) as socket:
        studio.client.queue(workflow, client_id)
        while True:
            message = socket.recv(timeout=240)
            if isinstance(message, bytes):
                if int.from_bytes(message[:4], "big") == BINARY_TEXT:
                    length = int.from_bytes(message[4:8], "big")
                    yield (
                        "text",
                        {"node": message[8 : 8 + length].decode(), "text": message[8 + length :].decode()},
                    )
                continue
            event = json.loads(message)
            yield event["type"], event["data"]
            if event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
                return


def test_a_download_shows_on_the_node(studio: Studio) -> None:
    file = studio.process.base / "models/loras/air/civitai/501@1501"
    assert not file.exists()
    events = list(events_of(studio, tiny("sd15", [{"model": air(501), "weight": 0.5}]).workflow()))
    texts = [data["text"] for kind, data in events if kind == "text" and data["node"] == "apply"]
    assert any("MB" in text and "model-501.safetensors" in text for text in texts), texts
    assert texts[-1] == "model-501.safetensors: on disk"
    assert any(kind == "progress" and data["node"] == "apply" for kind, data in events)
    assert events[-1][0] == "execution_success"


REFUSALS = [
    (
        "sd15",
        201,
        "LoRA 1 (lora[0]): civitai:201@1201 (Style for SDXL) was trained for SDXL, but ",
        "Choose a checkpoint of SDXL, remove the entry, or set on_mismatch to skip.",
    ),
    (
        "sdxl",
        101,
        "LoRA 1 (lora[0]): civitai:101@1101 (Style A for SD 1.5) was trained for SD 1.x, but ",
        "Choose a checkpoint of SD 1.x, remove the entry, or set on_mismatch to skip.",
    ),
]


@pytest.mark.parametrize(
    ("checkpoint", "model_id", "begins", "ends"), REFUSALS, ids=lambda value: str(value)[:8]
)
def test_a_refusal_is_an_execution_error_of_this_node(
    studio: Studio, checkpoint: str, model_id: int, begins: str, ends: str
) -> None:
    kind, data = list(events_of(studio, tiny(checkpoint, [{"model": air(model_id)}]).workflow()))[-1]
    assert kind == "execution_error"
    assert (data["node_id"], data["node_type"], data["exception_type"].split(".")[-1]) == (
        "apply",
        "AirLoraApply",
        "Mismatch",
    )
    (message,) = data["exception_message"].strip().splitlines()
    assert message.startswith(begins)
    assert message.endswith(ends)
