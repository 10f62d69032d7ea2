import assert from "node:assert/strict";
import { test } from "node:test";

import { readSettings, settingsPage } from "../../web/settings.js";
import { nodeAt, rowErrors, tellFailures, tellRejections } from "../../web/toasts.js";

const reading = (values) => readSettings((id) => values[id.split(".").pop()]);

test("without settings, weights are as the array allows", () => {
  assert.deepEqual(reading({}), {
    step: 0.05,
    least: -4,
    most: 4,
    newWeight: 0.75,
    onMismatch: "error",
    compact: false,
  });
});

test("what is set counts", () => {
  const values = { Step: 0.1, Min: -1, Max: 2, DefaultWeight: 0.6, OnMismatch: "skip", Compact: true };
  assert.deepEqual(reading(values), {
    step: 0.1,
    least: -1,
    most: 2,
    newWeight: 0.6,
    onMismatch: "skip",
    compact: true,
  });
});

test("what cannot be is as if it were not set", () => {
  const broken = reading({ Step: 0, Min: 3, Max: -3, DefaultWeight: "much", OnMismatch: "ignore", Compact: "yes" });
  assert.deepEqual(broken, { step: 0.005, least: -4, most: 4, newWeight: 0.75, onMismatch: "error", compact: false });
  assert.equal(reading({ Step: null }).step, 0.05);
});

test("a new LoRA's weight lies in the range", () => {
  assert.equal(reading({ Max: 0.5 }).newWeight, 0.5);
});

test("each setting has a name, a hint and a place", () => {
  for (const setting of settingsPage({}, () => {})) {
    assert.match(setting.id, /^AirLora\.\w+\.\w+$/);
    assert.ok(setting.name && setting.tooltip && setting.category[0] === "AIR LoRA", setting.id);
  }
});

test("lines of an error that name a row are found, others are not", () => {
  const message = [
    "LoRA 2 (lora[1]): civitai:9@9 (Watercolour) is for SDXL, the checkpoint is SD 3. Choose another.",
    "LoRA 3 (lora[2].model): nothing is called local:none. Check the name.",
    "lora_stack[0]: broken.",
    "something else",
  ].join("\n");
  assert.deepEqual(rowErrors(message), [
    {
      place: "lora[1]",
      index: 1,
      text: "is for SDXL, the checkpoint is SD 3. Choose another.",
      whole: "civitai:9@9 (Watercolour) is for SDXL, the checkpoint is SD 3. Choose another.",
    },
    ...[
      ["lora[2]", 2, "nothing is called local:none. Check the name."],
      ["lora_stack[0]", null, "broken."],
    ].map(([place, index, text]) => ({ place, index, text, whole: text })),
  ]);
  assert.deepEqual(rowErrors(undefined), []);
});

test("nodes are found in subgraphs too", () => {
  const inner = { id: 5 };
  const graph = { nodes: [{ id: 7, subgraph: { nodes: [inner] } }] };
  assert.equal(nodeAt(graph, "7:5"), inner);
  assert.equal(nodeAt(graph, "8:5"), null);
  assert.equal(nodeAt(graph, null), null);
});

test("a toast for each row, and the rest counted", () => {
  const message = Array.from({ length: 6 }, (_, index) => `lora[${index}]: no.`).join("\n");
  const told = [];
  tellFailures({ exception_message: message }, { setFailures: () => ["One"] }, (...each) => told.push(each[1]));
  assert.deepEqual(told, [
    "LoRA 1 (lora[0]): One",
    "LoRA 2 (lora[1])",
    "LoRA 3 (lora[2])",
    "LoRA 4 (lora[3])",
    "More LoRAs with errors: 2",
  ]);
});

test("without a row that shows the name, the text has it", () => {
  const told = [];
  const message = "LoRA 1 (lora[0]): civitai:9@9 (Watercolour) is for SDXL.";
  tellFailures({ exception_message: message }, null, (...each) => told.push(each[2]));
  assert.deepEqual(told, ["civitai:9@9 (Watercolour) is for SDXL."]);
});

test("what ComfyUI rejected is told once, and only of our nodes", () => {
  const told = [];
  const toast = (_severity, ...texts) => told.push(texts);
  const error = (input, text) => ({ type: "custom_validation_failed", details: `${input} - ${text}` });
  const marked = [];
  const editorOf = (id) => ({
    setFailures: (failures) => {
      marked.push([id, failures[0].index]);
      return ["Ink"];
    },
  });
  tellRejections(
    {
      4: {
        class_type: "AirLoraApply",
        errors: [error("lora", "LoRA 2 (lora[1].weight): 9 is out of range."), { type: "required_input_missing" }],
      },
      5: { class_type: "AirLoraSave", errors: ["lora", "file_name"].map((each) => error(each, "file_name: no.")) },
      6: { class_type: "Other", errors: [error("lora", "LoRA 1 (lora[0]): no.")] },
    },
    editorOf,
    toast,
  );
  assert.deepEqual(told, [
    ["LoRA 2 (lora[1]): Ink", "9 is out of range."],
    ["Invalid input: file_name", "file_name: no."],
  ]);
  assert.deepEqual(marked, [["4", 1]]);
  tellRejections(undefined, editorOf, toast);
});
