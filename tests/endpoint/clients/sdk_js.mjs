/** npm @runware/sdk-js 1.3: WebSocket only. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Runware } = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("@runware/sdk-js");
const asked = JSON.parse(readFileSync(0, "utf8"));
const client = new Runware({
  apiKey: "no-key-is-needed-on-this-computer",
  url: asked.url.replace("http", "ws"),
  timeoutDuration: asked.timeout ?? 120000,
  globalMaxRetries: asked.tries ?? 2,
});
try {
  const found = await client.requestImages(asked.task);
  const images = found.map((each) => ({
    imageUUID: each.imageUUID,
    seed: each.seed,
    url: each.imageURL,
    base64: (each.imageBase64Data ?? "").length,
  }));
  console.log(JSON.stringify({ images }));
} catch (error) {
  console.log(JSON.stringify({ error: JSON.stringify(error?.error ?? error?.message ?? error) }));
}
process.exit(0);
