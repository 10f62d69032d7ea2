import assert from "node:assert/strict";
import { test } from "node:test";

import { keepKeys, readArray, writeArray } from "../../web/rows/array_text.js";
import { plain, shortModel, sizeText, typedWeight, weightText } from "../../web/rows/format.js";
import { weightAfterKey } from "../../web/rows/keyboard.js";
import { blocksOfFactors, factorsOf } from "../../web/rows/blocks.js";
import { appended } from "../../web/rows/prompt_words.js";
import { weightAt } from "../../web/rows/schedule.js";
import * as edits from "../../web/rows/state.js";

const entry = { model: "civitai:1@2", weight: 0.75, note: { by: "me" } };

test("unknown fields outlive reading, editing and writing", () => {
  const reading = readArray(JSON.stringify([entry]));
  const rows = edits.setWeight(reading.rows, reading.rows[0].key, 0.5);
  assert.deepEqual(JSON.parse(writeArray(rows, reading.wrapper)), [{ ...entry, weight: 0.5 }]);
});

test("the request around an array is kept", () => {
  const request = [{ taskType: "imageInference", model: "civitai:9@9", lora: [entry], steps: 20 }];
  const reading = readArray(JSON.stringify(request));
  const rows = edits.setOn(reading.rows, reading.rows[0].key, false);
  const written = JSON.parse(writeArray(rows, reading.wrapper));
  assert.deepEqual(written, [{ ...request[0], lora: [{ ...entry, enabled: false }] }]);
});

test("text that is no strict array gives its reason and no rows", () => {
  for (const text of ['[{"model": "a",}]', "7", '{"a": 1}', '[{"lora": [1]}, {"lora": [2]}]']) {
    const reading = readArray(text);
    assert.equal(reading.ok, false);
    assert.ok(reading.reason);
  }
  assert.equal(readArray("  ").rows.length, 0);
});

test("rows keep their keys when others come or go", () => {
  const before = readArray('[{"model":"a"},{"model":"b"}]').rows;
  const after = keepKeys(before, readArray('[{"model":"b"},{"model":"c"},{"model":"a"}]').rows);
  assert.equal(after[0].key, before[1].key);
  assert.equal(after[2].key, before[0].key);
  assert.equal(new Set(after.map((row) => row.key)).size, 3);
});

test("edits change nothing in place", () => {
  const { rows } = readArray('[{"model":"a","weight":1},{"model":"b"}]');
  const before = JSON.stringify(rows);
  edits.moveTo(edits.setAllOn(edits.duplicate(rows, rows[0].key), false), rows[0].key, 2);
  edits.setClipWeight(rows, rows[0].key, 0.3);
  assert.equal(JSON.stringify(rows), before);
});

test("all CLIP weights come and go at once", () => {
  const { rows } = readArray('[{"model":"a","weight":0.7},7,{"model":"b","weight":0.5,"clip_weight":0}]');
  assert.equal(edits.haveAllClip(rows), false);
  const separate = edits.setAllClip(rows, true);
  assert.deepEqual(separate.map(edits.clipWeightOf), [0.7, null, 0]);
  assert.equal(edits.haveAllClip(separate), true);
  const same = edits.setAllClip(separate, false);
  assert.deepEqual(JSON.parse(writeArray(same)), [{ model: "a", weight: 0.7 }, 7, { model: "b", weight: 0.5 }]);
  assert.equal(edits.haveAllClip([]), false);
});

test("what is off or weighs nothing is not in the total", () => {
  const { rows } = readArray('[{"model":"a"},{"model":"b","weight":0.5,"enabled":false},{"model":"c","weight":0}]');
  assert.deepEqual(edits.totalOf(rows), { total: 1, count: 1, most: 1 });
});

test("a pasted LoRA without a weight gets the default", () => {
  const parsed = {
    model: "civitai:1@2",
    weight: 1,
    clip_weight: 1,
    enabled: true,
    transformer: "both",
    weight_given: false,
  };
  assert.deepEqual(edits.entryOfParsed(parsed), { model: "civitai:1@2", weight: 0.75 });
});

test("keys step weights and stop at the ends", () => {
  assert.equal(weightAfterKey({ key: "ArrowUp" }, 0.7), 0.75);
  assert.equal(weightAfterKey({ key: "ArrowUp", shiftKey: true }, 0.5), 1);
  assert.equal(weightAfterKey({ key: "ArrowDown", altKey: true }, 0.5), 0.49);
  assert.equal(weightAfterKey({ key: "ArrowUp" }, 4), 4);
  assert.equal(weightAfterKey({ key: "a" }, 1), null);
});

test("numbers as typed and as shown", () => {
  assert.equal(typedWeight("0,75"), 0.75);
  assert.equal(typedWeight("−0.5"), -0.5);
  assert.equal(typedWeight("1e9"), null);
  assert.equal(weightText(0.1 + 0.2), "0.30");
  assert.equal(sizeText(170_540_000), "171 MB");
});

test("a stranger's text becomes one short line without direction marks", () => {
  assert.equal(plain("a\u202eb\n c"), "a b c");
  assert.equal(plain("a\u061cb\u206ec\u{e0041}d\u00ad"), "a b c d");
  assert.equal(plain("👨\u200d👩 می\u200cخواهم"), "👨\u200d👩 می\u200cخواهم", "joiners are part of letters and emoji");
  assert.equal(plain("😀😀😀", 4), "😀…", "no half of an emoji");
  assert.equal(plain("x".repeat(1_000_000), 20).length, 20);
  assert.equal(shortModel("local:sub/name.safetensors"), "name");
});

test("words that the prompt has are not written again", () => {
  assert.deepEqual(appended("a house", ["neon", "city"]), { text: "a house, neon, city", added: ["neon", "city"] });
  assert.deepEqual(appended("a house, neon, city", ["neon", "city"]), { text: "a house, neon, city", added: [] });
  assert.deepEqual(appended("(Neon:1.2), a house", ["neon", "city"]), {
    text: "(Neon:1.2), a house, city",
    added: ["city"],
  });
  assert.deepEqual(appended("neon lights", ["neon"]), { text: "neon lights, neon", added: ["neon"] });
  assert.deepEqual(appended("a, b", ["b, a"]), { text: "a, b", added: [] });
  assert.deepEqual(appended("", ["neon"]), { text: "neon", added: ["neon"] });
});

test("a key that the server doesn't know is a fault of its row", () => {
  assert.equal(edits.faultOf({ key: 1, entry: { model: "civitai:1@2", weigth: 0.5 } }), "unknownKey");
  assert.equal(
    edits.faultOf({
      key: 1,
      entry: { model: "civitai:1@2", weight: 0.5, clip_weight: 1, transformer: "high", enabled: false },
    }),
    null,
  );
});

test("a URN is named as its short form is", () => {
  assert.equal(shortModel("urn:air:sd3:lora:huggingface:ink-org/many@main/b/lora.safetensors"), "ink-org/many");
});

test("a weight of points shows its strongest, keeps its form, and is checked", () => {
  const read = (entry) => readArray(JSON.stringify([{ model: "civitai:1@2", ...entry }])).rows;
  const rows = read({
    weight: [
      [0, 0.2],
      [0.5, -0.8],
    ],
  });
  assert.equal(edits.weightOf(rows[0]), -0.8);
  assert.equal(edits.faultOf(rows[0]), null);
  assert.ok(edits.isScheduled(rows[0]));
  const changed = edits.setWeight(rows, rows[0].key, 0.4);
  assert.deepEqual(changed[0].entry.weight, [
    [0, -0.1],
    [0.5, 0.4],
  ]);
  for (const weight of [
    [],
    [[0, 1]],
    [
      [0.5, 1],
      [0.2, 1],
    ],
    [
      [0, 9],
      [1, 1],
    ],
    [
      [0, 1],
      [2, 1],
    ],
    [1, 2],
  ])
    assert.equal(edits.faultOf(read({ weight })[0]), "wrongPoints", JSON.stringify(weight));
  assert.equal(
    edits.faultOf(
      read({
        weight: [
          [0, 1],
          [20, 0],
        ],
        count: "numbers",
      })[0],
    ),
    null,
  );
  assert.equal(edits.faultOf(read({ start: 0.5, end: 0.5 })[0]), "wrongSpan");
  assert.equal(edits.faultOf(read({ start: 5, count: "numbers" })[0]), null);
});

test("the weight at a step is what the server makes of it", () => {
  const at = (entry) => Array.from({ length: 10 }, (_, step) => Math.round(weightAt(entry, step / 10) * 100) / 100);
  assert.deepEqual(at({ weight: 0.8, start: 0.5 }), [0, 0, 0, 0, 0, 0.8, 0.8, 0.8, 0.8, 0.8]);
  assert.deepEqual(at({ weight: 0.8, end: 0.3 }), [0.8, 0.8, 0.8, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(
    at({
      weight: [
        [0, 0],
        [0.5, 1],
      ],
    }),
    [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1],
  );
  assert.deepEqual(
    at({
      weight: [
        [0, 0.2],
        [0.5, 1],
      ],
      hold: true,
    }),
    [0.2, 0.2, 0.2, 0.2, 0.2, 1, 1, 1, 1, 1],
  );
});

test("blocks as bars, and back in runs", () => {
  const rows = [
    ["input_blocks", [0, 1, 2, 3]],
    ["output_blocks", [0, 1, 2]],
  ];
  const blocks = { "input_blocks.1-2": 0.5, "output_blocks.*": 0 };
  const factors = factorsOf(blocks, rows);
  assert.deepEqual(Object.values(factors), [1, 0.5, 0.5, 1, 0, 0, 0]);
  assert.deepEqual(blocksOfFactors(factors, rows), { "input_blocks.1-2": 0.5, "output_blocks.0-2": 0 });
  assert.equal(blocksOfFactors(factorsOf(null, rows), rows), null);
  assert.equal(factorsOf({ lbw: "OUTALL" }, rows), null);
  assert.equal(factorsOf({ "output_blocks.1.attn1": 0 }, rows), null);
  assert.deepEqual(Object.values(factorsOf("input", rows)), [1, 1, 1, 1, 0, 0, 0]);
});

test("a parsed entry brings its steps and blocks", () => {
  const parsed = {
    model: "civitai:1@2",
    weight: 0.8,
    weight_given: true,
    schedule: { weight: 0.8, start: 5, count: "numbers" },
    blocks: "OUTALL",
  };
  assert.deepEqual(edits.entryOfParsed(parsed), {
    model: "civitai:1@2",
    weight: 0.8,
    start: 5,
    count: "numbers",
    blocks: "OUTALL",
  });
});

test("typing through 0 keeps the curve, and a tie is the positive weight", () => {
  let rows = readArray('[{"model":"civitai:1@2","weight":[[0,0.2],[0.5,1]]}]').rows;
  const { key } = rows[0];
  for (const typed of [0, 0.01, 0.6]) rows = edits.setWeight(rows, key, typed);
  assert.deepEqual(rows[0].entry.weight, [
    [0, 0.12],
    [0.5, 0.6],
  ]);
  assert.equal(
    edits.weightOf({
      key: 1,
      entry: {
        weight: [
          [0, -1],
          [1, 1],
        ],
      },
    }),
    1,
  );
  const parsed = {
    model: "civitai:1@2",
    weight: 1,
    weight_given: true,
    schedule: {
      weight: [
        [0, -1],
        [1, 1],
      ],
    },
  };
  assert.deepEqual(edits.entryOfParsed(parsed).weight, [
    [0, -1],
    [1, 1],
  ]);
});

test("a bar leaves what an entry says of other things than blocks", () => {
  const rows = [["output_blocks", [0, 1, 2, 3]]];
  const blocks = { text_encoder: 0, "output_blocks.3": 0.5 };
  const factors = factorsOf(blocks, rows);
  assert.deepEqual(Object.values(factors), [1, 1, 1, 0.5]);
  assert.deepEqual(blocksOfFactors({ ...factors, "output_blocks.0": 0 }, rows, blocks), {
    text_encoder: 0,
    "output_blocks.0": 0,
    "output_blocks.3": 0.5,
  });
});
