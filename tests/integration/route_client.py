"""Sends requests to the pack's routes, as a page or an attacker would."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Answer:
    """The response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        error = self.json["error"]
        assert set(error) == {"code", "parameter", "message", "remedy"}
        return str(error["code"])


class Routes:
    """The routes of the server at `url`."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=300)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", f"/air_lora/{path}", None, _with_dashes(headers))

    def post(self, path: str, document: object, **headers: str) -> Answer:
        """`headers` are passed with "_" instead of "-"."""
        body = json.dumps(document).encode()
        named = {"Content-Type": "application/json", **_with_dashes(headers)}
        return self.ask("POST", f"/air_lora/{path}", body, named)

    def found(self, path: str, document: object) -> Any:
        """The JSON of a response, which must be successful."""
        answer = self.post(path, document)
        assert answer.status == 200, answer.body
        return answer.json


def _with_dashes(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
