"""PyPI runware 0.5: WebSocket only. Reads a request from standard input, and writes the result."""

from __future__ import annotations

import asyncio
import json
import sys


async def main() -> None:
    from runware import IImageInference, ILora, Runware

    asked = json.load(sys.stdin)
    client = Runware(api_key="no-key-is-needed-on-this-computer", url=asked["url"].replace("http", "ws", 1))
    await client.connect()
    task = dict(asked["task"])
    loras = [ILora(model=each["model"], weight=each["weight"]) for each in task.pop("lora", [])]

    async def one(number: int) -> list[dict[str, object]]:
        request = IImageInference(
            positivePrompt=task["positivePrompt"],
            model=task["model"],
            width=task["width"],
            height=task["height"],
            steps=task["steps"],
            CFGScale=task["CFGScale"],
            seed=task["seed"] + 100 * number,
            numberResults=task.get("numberResults", 1),
            lora=loras,
            outputType=task.get("outputType", "URL"),
            outputFormat=task.get("outputFormat", "JPG"),
            **({"seedImage": task["seedImage"], "strength": task["strength"]} if "seedImage" in task else {}),
            **({"deliveryMethod": task["deliveryMethod"]} if "deliveryMethod" in task else {}),
        )
        images = await client.imageInference(requestImage=request)
        if not isinstance(images, list):  # it returns something else for deliveryMethod "async"
            images = await client.getResponse(taskUUID=images.taskUUID, numberResults=request.numberResults)
        return [
            {
                "imageUUID": each.imageUUID,
                "seed": each.seed,
                "url": each.imageURL,
                "base64": len(each.imageBase64Data or ""),
            }
            for each in images
        ]

    try:
        found = await asyncio.gather(*(one(number) for number in range(asked.get("at_once", 1))))
        print(json.dumps({"images": [each for several in found for each in several]}))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
    await client.disconnect()


asyncio.run(main())
