"""Whether an endpoint on this computer responds."""

from __future__ import annotations

import requests


def status_of_ping(address: str, seconds: float) -> int | None:
    """The HTTP status of a ping task, or None if there was no response within `seconds`.

    HTTP_PROXY and the like are ignored: a proxy can't reach this computer's own ports.
    """
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.post(address, json={"taskType": "ping", "ping": True}, timeout=seconds).status_code
        except requests.RequestException:
            return None
