import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { Knowledge, Server } from "../../web/server.js";
import { readArray } from "../../web/rows/array_text.js";
import * as edits from "../../web/rows/state.js";
import { StartWeights } from "../../web/view/start_weights.js";
import { looksPasted, namesLoras } from "../../web/rows/pasted.js";
import { pageOf } from "../../web/view/row_menu.js";

/** Runs with a real server that answers with `answer(path, body)`. `run` also gets the list of requests. */
async function serving(answer, run) {
  const asked = [];
  const real = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    asked.push({ path: request.url, type: request.headers["content-type"], body });
    const [status, content] = answer(request.url, body);
    response
      .writeHead(status, { "Content-Type": "application/json" })
      .end(typeof content === "string" ? content : JSON.stringify(content));
  });
  await new Promise((resolve) => real.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${real.address().port}`;
  const api = { fetchApi: (path, options) => fetch(base + path, options), apiURL: (path) => `/api${path}` };
  try {
    await run(new Server(api), asked);
  } finally {
    real.closeAllConnections();
    await new Promise((resolve) => real.close(resolve));
  }
  return new Server(api); // nothing answers its requests any more
}

const itemsFor = (_path, body) => [
  200,
  {
    items: JSON.parse(body).models.map((model) => ({ model, state: "on_disk", title: `title of ${model}` })),
    checkpoint: { family_names: ["SDXL"] },
  },
];
/** The models of each request for items. */
const modelsAsked = (asked) =>
  asked.filter(({ path }) => path === "/air_lora/info").map(({ body }) => JSON.parse(body).models);
const told = (knowledge) =>
  new Promise((resolve) => {
    const stop = knowledge.onChange(() => {
      stop();
      resolve();
    });
  });

test("answers are answers, and whatever goes wrong is an error with a sentence", async () => {
  const answers = {
    "/good": [200, { a: 1 }],
    "/refused": [403, { error: { code: "notFromHere", message: "not from here", remedy: "" } }],
    "/page": [200, "<html>"],
    "/missing": [404, "404: Not Found"],
    "/odd": [500, { detail: "x" }],
  };
  const gone = await serving(
    (path) => answers[path],
    async (server) => {
      assert.deepEqual(await server.get("/good"), { ok: true, data: { a: 1 } });
      assert.equal((await server.post("/refused", {})).error.code, "notFromHere");
      for (const path of ["/page", "/missing", "/odd"]) {
        const { ok, error } = await server.get(path);
        assert.deepEqual([ok, error.code], [false, "noRoute"]);
        assert.ok(error.message);
      }
      const stopped = new AbortController();
      stopped.abort();
      assert.equal((await server.post("/good", {}, stopped.signal)).error.code, "aborted");
    },
  );
  assert.equal((await gone.get("/good")).error.code, "noServer");
});

test("of a LoRA that is dropped, its header and a little more is sent; of other files all", async () => {
  await serving(
    () => [200, {}],
    async (server, asked) => {
      const content = new Uint8Array(100_000);
      new DataView(content.buffer).setUint32(0, 500, true);
      await server.dropped(new File([content], "a & b.safetensors"));
      await server.dropped(new File([content], "picture.png"));
      assert.deepEqual(
        asked.map(({ path, type, body }) => [path, type, body.length]),
        [
          ["/air_lora/dropped?name=a%20%26%20b.safetensors&size=100000", "application/octet-stream", 8 + 500 + 4096],
          ["/air_lora/dropped?name=picture.png&size=100000", "application/octet-stream", 100_000],
        ],
      );
    },
  );
});

test("a thumbnail is an address of our own, whatever an item says", () => {
  const server = new Server({ apiURL: (path) => `/api${path}` });
  assert.equal(
    server.thumbnail({ thumbnail: "/air_lora/thumbnail?model=x" }, 96),
    "/api/air_lora/thumbnail?model=x&size=96",
  );
  for (const thumbnail of [
    null,
    7,
    "",
    "https://evil.example/a.png",
    "//evil.example/air_lora/thumbnail?",
    "javascript:alert(1)",
    "/air_lora/thumbnails",
  ]) {
    assert.equal(server.thumbnail({ thumbnail }, 96), null);
  }
  assert.equal(server.thumbnail(null, 96), null);
});

test("rows that ask at one moment ask once, and what is known is not asked again", async () => {
  await serving(itemsFor, async (server, asked) => {
    const knowledge = new Knowledge(server);
    const checkpoint = { folder: "checkpoints", name: "a.ckpt" };
    for (const models of [["a", "b"], ["b", "c"], [""]]) knowledge.want(models, checkpoint);
    assert.equal(knowledge.itemOf("a", checkpoint).isLooking, true);
    await told(knowledge);
    assert.deepEqual(
      asked.map(({ body }) => JSON.parse(body)),
      [{ models: ["a", "b", "c"], checkpoint }],
    );
    assert.equal(knowledge.itemOf("c", checkpoint).title, "title of c");
    assert.equal(knowledge.itemOf("c", null), null, "what fits one checkpoint says nothing of another");
    assert.deepEqual(knowledge.checkpointOf(checkpoint).family_names, ["SDXL"]);
    knowledge.want(["a", "b", "c"], checkpoint);
    assert.equal(knowledge.waiting.size, 0);
  });
});

test("more rows than one question may have are asked for in several", async () => {
  await serving(itemsFor, async (server, asked) => {
    const knowledge = new Knowledge(server);
    const models = Array.from({ length: 450 }, (_, number) => `m${number}`);
    knowledge.want(models, null);
    await told(knowledge);
    assert.deepEqual(
      asked.map(({ body }) => JSON.parse(body).models.length),
      [200, 200, 50],
    );
    assert.ok(models.every((model) => knowledge.itemOf(model, null).title === `title of ${model}`));
  });
});

test("what is forgotten is asked again and shows what was known until then", async () => {
  await serving(itemsFor, async (server, asked) => {
    const knowledge = new Knowledge(server);
    knowledge.want(["a", "b"], null);
    await told(knowledge);
    await told(knowledge); // about newer versions
    knowledge.forget("a");
    knowledge.want(["a", "b"], null);
    assert.deepEqual([knowledge.itemOf("a", null).title, knowledge.itemOf("a", null).isLooking], ["title of a", true]);
    await told(knowledge);
    assert.deepEqual(modelsAsked(asked)[1], ["a"]);
    knowledge.forgetAll();
    knowledge.want(["a", "b"], null);
    await told(knowledge);
    assert.deepEqual(modelsAsked(asked)[2], ["a", "b"]);
  });
});

test("what its service says later is asked once", async () => {
  const answer = (path, body) =>
    path === "/air_lora/newer"
      ? [
          200,
          {
            newer: { a: { model: "civitai:1@3", version: "v2" } },
            weights: { b: { weight: 0.6, least: null, most: null, source: "CivitAI" } },
          },
        ]
      : itemsFor(path, body);
  await serving(answer, async (server, asked) => {
    const knowledge = new Knowledge(server);
    knowledge.want(["a", "b"], null);
    await told(knowledge);
    assert.equal(knowledge.isAllKnown("a"), false);
    await told(knowledge);
    assert.equal(knowledge.newer.get("a").version, "v2");
    assert.equal(knowledge.newer.has("b"), false);
    assert.equal(knowledge.suggestedOf("b", null).weight, 0.6);
    assert.equal(knowledge.suggestedOf("a", null), null);
    assert.ok(knowledge.isAllKnown("a") && knowledge.isAllKnown("b"));
    knowledge.forget("a");
    knowledge.want(["a"], null);
    await told(knowledge);
    assert.equal(asked.filter(({ path }) => path === "/air_lora/newer").length, 1);
  });
});

test("what the library suggests comes before what the service says", () => {
  const knowledge = new Knowledge(null);
  knowledge.weights.set("a", { weight: 0.6 });
  knowledge.items.set("null\na", { suggested_weight: { weight: 0.3 } });
  assert.equal(knowledge.suggestedOf("a", null).weight, 0.3);
});

/** The parts of an editor that the weights of new rows need. */
function editorWith(rows, suggested, allKnown = () => false) {
  return {
    rows,
    readOnly: false,
    host: {
      settings: () => ({ newWeight: 0.75, least: -1, most: 1.5 }),
      checkpoint: () => null,
      amended: () => {},
      settled: () => {},
    },
    knowledge: { suggestedOf: (model) => suggested.get(model) ?? null, isAllKnown: allKnown },
    edit(change) {
      this.rows = change(this.rows);
    },
  };
}

test("a new row takes what is suggested, once, unless somebody was faster", () => {
  const suggested = new Map();
  const { rows } = readArray('[{"model":"a","weight":0.75},{"model":"b","weight":0.75},{"model":"c","weight":0.75}]');
  const editor = editorWith(rows, suggested, (model) => model === "c");
  const weights = new StartWeights(editor);
  weights.await(rows);
  assert.equal(weights.waiting.size, 2, "of c, nothing more will become known");
  editor.rows = edits.setWeight(editor.rows, rows[1].key, 0.2);
  suggested.set("a", { weight: 3 }).set("b", { weight: 0.5 }).set("c", { weight: 0.5 });
  weights.look();
  assert.deepEqual(editor.rows.map(edits.weightOf), [1.5, 0.2, 0.75]);
  suggested.set("a", { weight: 0.5 });
  weights.look();
  assert.equal(edits.weightOf(editor.rows[0]), 1.5);
  assert.deepEqual(weights.of({ suggested_weight: { weight: 0.4 } }), { weight: 0.4, isKnown: true });
  assert.deepEqual(weights.of({}), { weight: 0.75, isKnown: false });
});

test("a weight that was set, and a LoRA that was replaced, take nothing", () => {
  const suggested = new Map();
  const { rows } = readArray('[{"model":"a","weight":0.75},{"model":"b","weight":0.75}]');
  const editor = editorWith(rows, suggested);
  const weights = new StartWeights(editor);
  weights.await(rows);
  weights.forget(rows[0].key); // set to 0.75 on purpose
  editor.rows = edits.replaceModel(editor.rows, rows[1].key, "c");
  suggested.set("a", { weight: 0.5 }).set("c", { weight: 0.5 });
  weights.look();
  assert.deepEqual(editor.rows.map(edits.weightOf), [0.75, 0.75]);
});

test("what the server had no time for is asked again", async () => {
  let times = 0;
  const answer = (path, body) => {
    if (path !== "/air_lora/newer") return itemsFor(path, body);
    times += 1;
    return [200, { newer: {}, weights: {}, unknown: times === 1 ? ["b"] : [] }];
  };
  await serving(answer, async (server) => {
    const knowledge = new Knowledge(server);
    knowledge.want(["a", "b"], null);
    await told(knowledge);
    await told(knowledge);
    assert.ok(knowledge.isAllKnown("a"));
    assert.ok(!knowledge.isAllKnown("b"), "a row of it waits for its weight still");
    await told(knowledge);
    assert.ok(knowledge.isAllKnown("b"));
  });
});

test("rows of a server that does not answer say so", async () => {
  const gone = await serving(itemsFor, async () => {});
  const knowledge = new Knowledge(gone);
  knowledge.want(["a"], null);
  await told(knowledge);
  const item = knowledge.itemOf("a", null);
  assert.deepEqual([item.state, item.isUnanswered, item.error.code], ["error", true, "noServer"]);
});

test("a model's page is at its service or nowhere", () => {
  assert.equal(
    pageOf({ page: "https://civitai.com/models/1?modelVersionId=2" }),
    "https://civitai.com/models/1?modelVersionId=2",
  );
  assert.ok(pageOf({ page: "https://huggingface.co/a/b" }));
  const pages = [
    "javascript:alert(1)",
    "http://civitai.com/",
    "https://civitai.com.evil.example/",
    "https://civitai.com@evil.example/",
    "//civitai.com/",
    "data:text/html,x",
    "",
    null,
    7,
  ];
  for (const page of pages) assert.equal(pageOf({ page }), null, String(page));
  assert.equal(pageOf(null), null);
});

test("what names LoRAs is told from what searches for them", () => {
  const named = [
    "civitai:1@2",
    "urn:air:sdxl:lora:civitai:1@2",
    "120096@135931",
    "https://civitai.com/models/1",
    "[{",
    "<lora:a:1>",
    "a\nb",
    "local:a.safetensors",
  ];
  for (const text of named) assert.ok(looksPasted(text), text);
  for (const text of ["", "pixel art", "anime style: soft", "sdxl 2024", "email@example"])
    assert.ok(!looksPasted(text), text);
});

test("on the canvas, only what can be meant for nothing else is taken", () => {
  const ours = [
    "civitai:1@2",
    "urn:air:sdxl:lora:civitai:1@2",
    "120096@135931",
    "https://civitai.com/models/1?modelVersionId=2",
    "<lora:a:1> <lora:b:0.5>",
    "civitai:1@2\n  civitai:3@4\r\nhttps://civitai.com/models/1\n",
    '[{"model": "civitai:1@2", "weight": 1}]',
    '{"model": "civitai:1@2"}',
    '{"taskType": "imageInference", "lora": [{"model": "civitai:1@2"}]}',
  ];
  for (const text of ours) assert.ok(namesLoras(text), text);
  const others = [
    "",
    "a note",
    "https://example.com/a.png",
    "https://civitai.com",
    "a prompt with <lora:a:1> in it",
    '{"nodes": [], "links": []}',
    '{"1": {"class_type": "KSampler", "inputs": {}}}',
    '[{"model": 1}]',
    "[]",
    "civitai:1@2 and more words",
    "civitai:1@2\nand a note",
  ];
  for (const text of others) assert.ok(!namesLoras(text), text);
});
