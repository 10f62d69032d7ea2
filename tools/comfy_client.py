"""A minimal client of ComfyUI's API: queues a workflow, waits for it, and downloads its pictures."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

Workflow = dict[str, dict[str, Any]]
"""A graph in ComfyUI's API format: node id → {"class_type", "inputs"}."""


class Rejected(Exception):
    """ComfyUI rejected the workflow when it was queued (HTTP 400). `.answer` is its JSON."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        details = [
            f"{node} ({facts.get('class_type')}): {error.get('details') or error.get('message')}"
            for node, facts in answer.get("node_errors", {}).items()
            for error in facts.get("errors", [])
        ]
        super().__init__("\n".join(details) or str(answer.get("error", {}).get("message", answer)))


class Failed(Exception):
    """A node raised an error while the workflow ran. `.facts` is the `execution_error` that ComfyUI sent."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        super().__init__(str(facts.get("exception_message", "")).strip())


@dataclass(frozen=True)
class Result:
    """The result of a finished workflow: the outputs of its output nodes, and the messages of its run."""

    outputs: dict[str, dict[str, Any]]
    messages: list[tuple[str, dict[str, Any]]]

    def image_references(self) -> list[dict[str, str]]:
        """The file name, subfolder, and type of each saved picture."""
        return [image for output in self.outputs.values() for image in output.get("images", [])]


class ComfyClient:
    """A client of the server at `url`, which may answer late while it computes."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, timeout: float = 300) -> Any:
        """Sends a GET request and returns the response's JSON."""
        return json.loads(self._call(path, None, timeout))

    def post(self, path: str, body: Any, timeout: float = 300) -> Any:
        """Sends a POST request with JSON and returns the response's JSON."""
        answer = self._call(path, json.dumps(body).encode(), timeout)
        return json.loads(answer) if answer else None

    def queue(
        self, workflow: Workflow, client_id: str | None = None, extra_data: dict[str, Any] | None = None
    ) -> str:
        """Queues the workflow and returns its prompt ID. Raises Rejected."""
        body: dict[str, Any] = {"prompt": workflow}
        if extra_data is not None:
            body["extra_data"] = extra_data
        if client_id:
            body["client_id"] = client_id
        try:
            return str(self.post("/prompt", body)["prompt_id"])
        except urllib.error.HTTPError as error:
            raise Rejected(json.loads(error.read())) from None

    def run(
        self, workflow: Workflow, *, seconds: float = 600, extra_data: dict[str, Any] | None = None
    ) -> Result:
        """Queues the workflow and waits until it finishes. Raises Rejected, Failed, or TimeoutError."""
        return self.wait(self.queue(workflow, extra_data=extra_data), seconds=seconds)

    def wait(self, prompt_id: str, *, seconds: float = 600) -> Result:
        """Waits until a queued workflow finishes. Raises Failed or TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            left = max(1.0, deadline - time.monotonic())  # a busy ComfyUI can keep a request waiting
            entry = self.get(f"/history/{prompt_id}", timeout=left).get(prompt_id)
            if entry is not None:
                messages = [(kind, facts) for kind, facts in entry["status"].get("messages", [])]
                for kind, facts in messages:
                    if kind in ("execution_error", "execution_interrupted"):
                        raise Failed(facts)
                return Result(entry["outputs"], messages)
            time.sleep(0.1)
        raise TimeoutError(f"the workflow {prompt_id} did not end within {seconds} s")

    def image(self, reference: dict[str, str]) -> bytes:
        """Returns the bytes of a saved picture, as they are stored on the server."""
        query = {key: reference[key] for key in ("filename", "subfolder", "type")}
        return self._call(f"/view?{urllib.parse.urlencode(query)}", None, 300)

    def _call(self, path: str, body: bytes | None, timeout: float) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)  # noqa: S310  # our own server
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310  # our own server
            answer: bytes = response.read()
            return answer
