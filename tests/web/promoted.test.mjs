import assert from "node:assert/strict";
import { test } from "node:test";

import { checkpointAbove } from "../../web/graph/checkpoint_above.js";
import { hostInputOf, promptWidgetNear } from "../../web/graph/neighbours.js";
import { innermost, outermost } from "../../web/graph/promoted.js";

/** A graph of nodes and links [id, origin, origin slot, target, target slot]. */
function graph(id, nodes, links, more = {}) {
  const made = {
    id,
    nodes,
    ...more,
    links: new Map(
      links.map(([key, origin_id, origin_slot, target_id, target_slot]) => [
        key,
        { id: key, origin_id, origin_slot, target_id, target_slot },
      ]),
    ),
  };
  for (const node of nodes) node.graph = made;
  return made;
}

/** Rows in a subgraph in a subgraph, promoted twice. Both subgraphs output CLIP, which is connected to a prompt. */
function nested() {
  const apply = {
    id: 1,
    type: "AirLoraApply",
    inputs: [{ name: "lora", link: 1 }],
    outputs: [{ type: "CLIP", links: [2] }],
    widgets: [{ name: "lora", value: "inside" }],
  };
  const inner = graph(
    "inner",
    [apply],
    [
      [1, -10, 0, 1, 0],
      [2, 1, 0, -20, 0],
    ],
    { inputs: [{ name: "lora", linkIds: [1] }] },
  );
  const middle = {
    id: 5,
    subgraph: inner,
    inputs: [{ name: "lora", link: 1 }],
    outputs: [{ type: "CLIP", links: [2] }],
    widgets: [{ name: "lora", value: "between" }],
  };
  const outer = graph(
    "outer",
    [middle],
    [
      [1, -10, 0, 5, 0],
      [2, 5, 0, -20, 0],
    ],
    { inputs: [{ name: "styles", linkIds: [1] }] },
  );
  const host = {
    id: 7,
    subgraph: outer,
    inputs: [{ name: "styles", link: null }],
    outputs: [{ type: "CLIP", links: [9] }],
    widgets: [{ name: "styles", value: "outside" }],
  };
  const prompt = {
    id: 8,
    inputs: [{ name: "clip", link: 9 }],
    outputs: [],
    widgets: [{ name: "text", value: "a red car" }],
  };
  const root = graph("root", [host, prompt], [[9, 7, 0, 8, 0]]);
  return { apply, middle, host, prompt, root };
}

test("the outermost subgraph node has the text that counts", () => {
  const { apply, middle, host, root } = nested();
  assert.equal(outermost(apply, "lora", root).widget.value, "outside");
  assert.equal(outermost(middle, "lora", root).node, host);
  assert.equal(outermost(host, "styles", root), null);
  assert.equal(hostInputOf(apply, apply.inputs[0], root), "free");
  host.inputs[0].link = 9;
  assert.equal(hostInputOf(apply, apply.inputs[0], root), "wired");
});

test("a subgraph node's input leads to the rows inside", () => {
  const { apply, host, root } = nested();
  assert.equal(innermost(host, "styles"), apply);
  assert.equal(innermost(host, "nothing"), null);
  assert.equal(innermost(root.nodes[1], "clip"), null);
});

test("the prompt is found outside of the subgraph and inside another", () => {
  const { apply, prompt, root } = nested();
  assert.equal(promptWidgetNear(apply, root), prompt.widgets[0]);
  const inside = graph("inside", [{ ...prompt, outputs: [] }], [[9, -10, 0, 8, 0]], {
    inputs: [{ name: "clip", linkIds: [9] }],
  });
  root.nodes[1] = Object.assign(prompt, { subgraph: inside, widgets: [] });
  assert.equal(promptWidgetNear(apply, root).value, "a red car");
});

test("every loader names its folder, and Set and Get nodes are followed", () => {
  const loaders = [
    [{ type: "UNETLoader", widgets: [{ name: "unet_name", value: "a" }] }, "diffusion_models"],
    [{ type: "UnetLoaderGGUF", widgets: [{ name: "unet_name", value: "a" }] }, "unet_gguf"],
    [{ type: "CheckpointLoaderSimple", widgets: [{ name: "ckpt_name", value: "a" }] }, "checkpoints"],
  ];
  for (const [loader, folder] of loaders) {
    const setter = {
      id: 2,
      type: "SetNode",
      inputs: [{ type: "MODEL", link: 1 }],
      widgets: [{ name: "Constant", value: "base" }],
    };
    const getter = { id: 3, type: "GetNode", inputs: [], widgets: [{ name: "Constant", value: "base" }] };
    const apply = { id: 4, type: "AirLoraApply", inputs: [{ type: "MODEL", link: 2 }] };
    const root = graph(
      "root",
      [{ id: 1, inputs: [], ...loader }, setter, getter, apply],
      [
        [1, 1, 0, 2, 0],
        [2, 3, 0, 4, 0],
      ],
    );
    assert.deepEqual(checkpointAbove(apply, root), { folder, name: "a" });
  }
});
