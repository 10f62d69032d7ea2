import assert from "node:assert/strict";
import { test } from "node:test";

import { checkpointAbove } from "../../web/graph/checkpoint_above.js";

/** A graph of nodes and links [id, origin, origin slot, target, target slot]. */
function graph(id, nodes, links) {
  const made = { id, nodes, links: new Map(links.map(([key, origin_id, origin_slot, target_id, target_slot]) => [key, { id: key, origin_id, origin_slot, target_id, target_slot }])) };
  for (const node of nodes) node.graph = made;
  return made;
}

const model = (link) => ({ name: "model", type: "MODEL", link });
const loader = (id) => ({ id, type: "CheckpointLoaderSimple", inputs: [], widgets: [{ name: "ckpt_name", value: "a.safetensors" }] });

test("through a reroute and another LoRA node", () => {
  const apply = { id: 4, type: "AirLoraApply", inputs: [model(3)] };
  const root = graph("root", [loader(1), { id: 2, type: "Reroute", inputs: [{ type: "*", link: 1 }] }, { id: 3, type: "LoraLoader", inputs: [model(2)] }, apply],
    [[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 3, 0, 4, 0]]);
  assert.deepEqual(checkpointAbove(apply, root), { folder: "checkpoints", name: "a.safetensors" });
});

test("out of a subgraph and into another", () => {
  const apply = { id: 1, type: "AirLoraApply", inputs: [model(1)] };
  const around = graph("around", [apply], [[1, -10, 0, 1, 0]]);
  const inside = graph("inside", [loader(1)], [[1, 1, 0, -20, 0]]);
  inside.outputs = [{ linkIds: [1] }];
  const root = graph("root", [{ id: 1, type: "inside", subgraph: inside, inputs: [] }, { id: 2, type: "around", subgraph: around, inputs: [model(1)] }], [[1, 1, 0, 2, 0]]);
  assert.deepEqual(checkpointAbove(apply, root), { folder: "checkpoints", name: "a.safetensors" });
});

test("a circle and a missing link end without an answer", () => {
  const apply = { id: 1, type: "AirLoraApply", inputs: [model(1)] };
  const root = graph("root", [apply, { id: 2, type: "ModelThing", inputs: [model(2)] }], [[1, 2, 0, 1, 0], [2, 2, 0, 2, 0]]);
  assert.equal(checkpointAbove(apply, root), null);
  assert.equal(checkpointAbove({ id: 9, inputs: [model(null)], graph: root }, root), null);
});
