"""PyPI runware-sdk 1.8: REST or WebSocket. Reads a request from standard input, and writes the result."""

from __future__ import annotations

import asyncio
import json
import sys


async def main() -> None:
    from runware import Runware

    asked = json.load(sys.stdin)
    places = (
        {"transport": "rest", "http_base_url": asked["url"]}
        if asked["transport"] == "rest"
        else {"transport": "websocket", "ws_base_url": asked["url"].replace("http", "ws", 1)}
    )
    async with Runware(api_key="no-key-is-needed-on-this-computer", auth_timeout=240_000, **places) as client:

        async def one(number: int) -> list[dict[str, object]]:
            task = {
                **asked["task"],
                "taskType": "imageInference",
                "seed": asked["task"]["seed"] + 100 * number,
            }
            del task["taskUUID"]  # the client creates one
            found = await client.run(task)
            return [
                {
                    "imageUUID": each.get("imageUUID"),
                    "seed": each.get("seed"),
                    "url": each.get("imageURL"),
                    "base64": len(each.get("imageBase64Data") or ""),
                }
                for each in found
            ]

        try:
            found = await asyncio.gather(*(one(number) for number in range(asked.get("at_once", 1))))
            print(json.dumps({"images": [each for several in found for each in several]}))
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}))


asyncio.run(main())
