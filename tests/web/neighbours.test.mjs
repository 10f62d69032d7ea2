import assert from "node:assert/strict";
import { test } from "node:test";

import { hostInputOf, promptWidgetNear } from "../../web/graph/neighbours.js";

/** A graph of nodes and links, as the page has them: [id, from, fromSlot, to, toSlot]. */
function graphOf(nodes, links) {
  const graph = {
    nodes,
    links: new Map(
      links.map(([id, origin_id, origin_slot, target_id, target_slot]) => [
        id,
        { id, origin_id, origin_slot, target_id, target_slot },
      ]),
    ),
  };
  graph.getNodeById = (id) => nodes.find((node) => node.id === id) ?? null;
  for (const node of nodes) node.graph = graph;
  return graph;
}

const encode = (id, value, inputs = []) => ({ id, widgets: [{ name: "text", value }], inputs, outputs: [] });
const applied = (links) => ({
  id: 1,
  inputs: [{ name: "lora", link: null }],
  outputs: [
    { type: "MODEL", links: [] },
    { type: "CLIP", links },
  ],
});

test("the prompt is the first text that the CLIP goes to, also behind other nodes", () => {
  const apply = applied([1]);
  const skip = {
    id: 2,
    widgets: [{ name: "stop_at_clip_layer", value: -1 }],
    inputs: [],
    outputs: [{ type: "CLIP", links: [2, 3] }],
  };
  const positive = encode(3, "a red car");
  graphOf(
    [apply, skip, positive, encode(4, "ugly")],
    [
      [1, 1, 1, 2, 0],
      [2, 2, 0, 3, 0],
      [3, 2, 0, 4, 0],
    ],
  );
  assert.equal(promptWidgetNear(apply), positive.widgets[0]);
});

test("a prompt that comes over a wire is not written to, and a circle ends", () => {
  const apply = applied([1, 2]);
  const wired = encode(2, "", [{ name: "text", widget: { name: "text" }, link: 3 }]);
  const round = { id: 3, inputs: [], outputs: [{ type: "CLIP", links: [2] }] };
  graphOf(
    [apply, wired, round],
    [
      [1, 1, 1, 2, 0],
      [2, 1, 1, 3, 0],
      [3, 3, 0, 2, 1],
    ],
  );
  assert.equal(promptWidgetNear(apply), null);
  assert.equal(promptWidgetNear({ outputs: [] }), null);
});

test("an input is wired or free", () => {
  const node = {
    id: 1,
    inputs: [
      { name: "lora", link: 5 },
      { name: "clip", link: null },
    ],
  };
  const graph = graphOf([node, { id: 2, outputs: [] }], [[5, 2, 0, 1, 0]]);
  assert.equal(hostInputOf(node, node.inputs[0], graph), "wired");
  assert.equal(hostInputOf(node, node.inputs[1], graph), "free");
});

test("a widget that a subgraph promotes is wired only where the subgraph is", () => {
  const node = { id: 1, inputs: [{ name: "lora", link: 5 }] };
  const inner = graphOf([node], [[5, -10, 0, 1, 0]]);
  const host = { id: 7, subgraph: inner, inputs: [{ name: "lora", link: null }] };
  const root = graphOf([host, { id: 8, outputs: [] }], [[9, 8, 0, 7, 0]]);
  assert.equal(hostInputOf(node, node.inputs[0], root), "free");
  host.inputs[0].link = 9;
  assert.equal(hostInputOf(node, node.inputs[0], root), "wired");
});
