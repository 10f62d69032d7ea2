/** Texts of the pack that the front end does not translate itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { translateDefinitions, translateNode, translateSettings } from "../../web/node_texts.js";

const TEXTS = {
  AirLoraApply: {
    display_name: "Anwenden",
    description: "Tut es.",
    inputs: { lora: { name: "Liste", tooltip: "Das Array." }, clip: { name: "CLIP" } },
    outputs: { 0: { name: "MODEL" }, 1: { name: "Bericht", tooltip: "Als JSON." } },
  },
  Other: { display_name: "Fremd" },
};

test("a definition takes titles, names and hints, and keeps what is not said", () => {
  const definitions = {
    AirLoraApply: {
      display_name: "Apply",
      description: "Does it.",
      output_tooltips: ["kept", "old"],
      input: {
        required: { lora: ["STRING", { tooltip: "old", default: "[]" }], model: ["MODEL", {}] },
        optional: { clip: ["CLIP"] },
      },
    },
    Other: { display_name: "Other" },
  };
  translateDefinitions(definitions, TEXTS);
  assert.equal(definitions.AirLoraApply.display_name, "Anwenden");
  assert.deepEqual(definitions.AirLoraApply.input.required.lora, [
    "STRING",
    { tooltip: "Das Array.", default: "[]", display_name: "Liste" },
  ]);
  assert.deepEqual(definitions.AirLoraApply.input.required.model, ["MODEL", {}]);
  assert.deepEqual(definitions.AirLoraApply.input.optional.clip, ["CLIP", { display_name: "CLIP" }]);
  assert.deepEqual(definitions.AirLoraApply.output_tooltips, ["kept", "Als JSON."]);
  assert.equal(definitions.Other.display_name, "Other");
});

test("a node keeps what the front end translated or the user named", () => {
  const node = {
    comfyClass: "AirLoraApply",
    inputs: [
      { name: "lora", localized_name: "lora" },
      { name: "clip", localized_name: "Eigenes" },
    ],
    outputs: [{ name: "MODEL" }, { name: "report", localized_name: "report" }],
    widgets: [{ name: "lora" }],
  };
  translateNode(node, TEXTS);
  assert.deepEqual(
    node.inputs.map((each) => each.localized_name),
    ["Liste", "Eigenes"],
  );
  assert.equal(node.outputs[1].localized_name, "Bericht");
  assert.equal(node.widgets[0].label, "Liste");
  translateNode({ comfyClass: "Other" }, TEXTS);
  translateNode({}, undefined);
});

test("settings and their choices", () => {
  const settings = [
    { id: "AirLora.A.B", name: "N", tooltip: "T", options: [{ text: "Stop", value: "error" }] },
    { id: "AirLora.A.C", name: "M" },
  ];
  translateSettings(settings, { AirLora_A_B: { name: "Name", tooltip: "Hinweis", options: { Stop: "Halt" } } });
  assert.deepEqual(settings, [
    { id: "AirLora.A.B", name: "Name", tooltip: "Hinweis", options: [{ text: "Halt", value: "error" }] },
    { id: "AirLora.A.C", name: "M" },
  ]);
});
