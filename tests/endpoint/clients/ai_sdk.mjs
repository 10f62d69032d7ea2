/** npm @runware/ai-sdk-provider 2.0, through Vercel's AI SDK: REST only. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const need = createRequire(`${process.env.NODE_CLIENTS}/package.json`);
const { createRunware } = await import(
  `file://${process.env.NODE_CLIENTS}/node_modules/@runware/ai-sdk-provider/dist/index.mjs`
);
const { experimental_generateImage: generateImage } = need("ai");
const asked = JSON.parse(readFileSync(0, "utf8"));
const { positivePrompt, model, width, height, seed, numberResults, lora, ...rest } = asked.task;
try {
  const provider = createRunware({ apiKey: "no-key-is-needed-on-this-computer", baseURL: asked.url });
  const found = await generateImage({
    model: provider.image(model),
    prompt: positivePrompt,
    size: `${width}x${height}`,
    seed,
    n: numberResults ?? 1,
    maxRetries: 0,
    providerOptions: { runware: { lora, steps: rest.steps, CFGScale: rest.CFGScale } },
  });
  const images = found.images.map((each) => ({ base64: each.base64.length, type: each.mediaType }));
  console.log(JSON.stringify({ images }));
} catch (error) {
  console.log(JSON.stringify({ error: `${error?.name}: ${error?.message} ${error?.responseBody ?? ""}` }));
}
