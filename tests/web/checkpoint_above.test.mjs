import assert from "node:assert/strict";
import { test } from "node:test";

import { checkpointAbove } from "../../web/graph/checkpoint_above.js";

/** A graph of nodes and links [id, origin, origin slot, target, target slot]. */
function graph(id, nodes, links) {
  const made = {
    id,
    nodes,
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

const model = (link) => ({ name: "model", type: "MODEL", link });
const loader = (id) => ({
  id,
  type: "CheckpointLoaderSimple",
  inputs: [],
  widgets: [{ name: "ckpt_name", value: "a.safetensors" }],
});

test("through a reroute and another LoRA node", () => {
  const apply = { id: 4, type: "AirLoraApply", inputs: [model(3)] };
  const root = graph(
    "root",
    [
      loader(1),
      { id: 2, type: "Reroute", inputs: [{ type: "*", link: 1 }] },
      { id: 3, type: "LoraLoader", inputs: [model(2)] },
      apply,
    ],
    [
      [1, 1, 0, 2, 0],
      [2, 2, 0, 3, 0],
      [3, 3, 0, 4, 0],
    ],
  );
  assert.deepEqual(checkpointAbove(apply, root), { folder: "checkpoints", name: "a.safetensors" });
});

test("out of a subgraph and into another", () => {
  const apply = { id: 1, type: "AirLoraApply", inputs: [model(1)] };
  const around = graph("around", [apply], [[1, -10, 0, 1, 0]]);
  const inside = graph("inside", [loader(1)], [[1, 1, 0, -20, 0]]);
  inside.outputs = [{ linkIds: [1] }];
  const root = graph(
    "root",
    [
      { id: 1, type: "inside", subgraph: inside, inputs: [] },
      { id: 2, type: "around", subgraph: around, inputs: [model(1)] },
    ],
    [[1, 1, 0, 2, 0]],
  );
  assert.deepEqual(checkpointAbove(apply, root), { folder: "checkpoints", name: "a.safetensors" });
});

test("a circle and a missing link end without an answer", () => {
  const apply = { id: 1, type: "AirLoraApply", inputs: [model(1)] };
  const root = graph(
    "root",
    [apply, { id: 2, type: "ModelThing", inputs: [model(2)] }],
    [
      [1, 2, 0, 1, 0],
      [2, 2, 0, 2, 0],
    ],
  );
  assert.equal(checkpointAbove(apply, root), null);
  assert.equal(checkpointAbove({ id: 9, inputs: [model(null)], graph: root }, root), null);
});

// ------------------------------------------------------------------- as in the prompt

const A = { folder: "checkpoints", name: "a.safetensors" };
const B = { folder: "checkpoints", name: "b.safetensors" };
const second = (id) => ({ ...loader(id), widgets: [{ name: "ckpt_name", value: "b.safetensors" }] });
const apply = (link) => ({ id: 9, type: "AirLoraApply", inputs: [model(link)] });

/** Two loaders (1: a, 2: b) → the node → Apply. */
function between(node, { first = loader(1), other = second(2), more = [], links = [] } = {}) {
  const last = apply(3);
  const root = graph(
    "root",
    [first, other, { id: 3, ...node }, last, ...more],
    [[1, 1, 0, 3, 0], [2, 2, 0, 3, 1], [3, 3, 0, 9, 0], ...links],
  );
  return checkpointAbove(last, root);
}

const anyOf = (...names) => names.map((name, number) => ({ name, type: "MODEL", link: number + 1 }));

test("what is muted gives nothing, and what is bypassed is passed", () => {
  const lora = {
    type: "LoraLoader",
    outputs: [{ type: "MODEL" }, { type: "CLIP" }],
    inputs: [{ name: "clip", type: "CLIP", link: null }, model(1)],
  };
  assert.deepEqual(between({ ...lora, mode: 4 }), A);
  assert.equal(between({ ...lora, mode: 2 }), null);
  assert.equal(between(lora, { first: { ...loader(1), mode: 2 } }), null);
  assert.equal(between(lora, { first: { ...loader(1), mode: 4 } }), null);
});

for (const [type, choice, value, names, expected] of [
  ["CR Model Input Switch", "Input", 2, ["model1", "model2"], B],
  ["CR Model Input Switch", "Input", 1, ["model1", "model2"], A],
  ["ImpactSwitch", "select", 2, ["input1", "input2"], B],
  ["ComfySwitchNode", "switch", true, ["on_false", "on_true"], B],
  ["ComfySwitchNode", "switch", false, ["on_false", "on_true"], A],
  ["easy anythingIndexSwitch", "index", 0, ["value0", "value1"], A],
  ["Switch any [Crystools]", "boolean", false, ["on_true", "on_false"], B],
]) {
  test(`the chosen input of ${type} at ${value}`, () => {
    const node = { type, widgets: [{ name: choice, value }], inputs: anyOf(...names) };
    assert.deepEqual(between(node), expected);
    assert.equal(
      between(node, expected === A ? { first: { ...loader(1), mode: 2 } } : { other: { ...second(2), mode: 2 } }),
      null,
    );
  });
}

test("a choice that comes over a wire is known of a primitive alone", () => {
  const node = {
    type: "ImpactSwitch",
    widgets: [{ name: "select", value: 1 }],
    inputs: [...anyOf("input1", "input2"), { name: "select", type: "INT", widget: { name: "select" }, link: 4 }],
  };
  const from = (more) => between(node, { more: [more], links: [[4, 4, 0, 3, 2]] });
  assert.equal(from({ id: 4, type: "RandomNumber", widgets: [{ name: "value", value: 2 }] }), null);
  assert.deepEqual(from({ id: 4, type: "PrimitiveNode", widgets: [{ name: "value", value: 2 }] }), B);
});

test("a file name that comes over a wire is not the one that the widget shows", () => {
  const wired = {
    ...loader(1),
    inputs: [{ name: "ckpt_name", type: "COMBO", widget: { name: "ckpt_name" }, link: 4 }],
  };
  const node = { type: "LoraLoader", inputs: [model(1)] };
  assert.equal(
    between(node, { first: wired, more: [{ id: 4, type: "CR Select Model", widgets: [] }], links: [[4, 4, 0, 1, 0]] }),
    null,
  );
});

test("of several models none is named, unless it is one file, or a merge into the first", () => {
  const node = { type: "SomebodysSelector", inputs: anyOf("one", "two") };
  assert.equal(between(node), null);
  assert.deepEqual(between(node, { other: loader(2) }), A);
  assert.deepEqual(between(node, { first: { ...loader(1), mode: 2 } }), B);
  assert.deepEqual(between({ ...node, type: "ModelMergeSimple" }), A);
});

test("rgthree's switch takes the first that is not muted", () => {
  const node = { type: "Any Switch (rgthree)", outputs: [{ type: "*" }], inputs: anyOf("any_01", "any_02") };
  assert.deepEqual(between(node), A);
  assert.deepEqual(between(node, { first: { ...loader(1), mode: 2 } }), B);
});

test("contexts and pipes bring the model through several nodes", () => {
  const context = (id, base, own) => ({
    id,
    type: "Context (rgthree)",
    inputs: [{ name: "base_ctx", type: "RGTHREE_CONTEXT", link: base }, model(own)],
  });
  const last = apply(3);
  const links = [
    [1, 1, 0, 2, 1],
    [2, 2, 0, 3, 0],
    [3, 3, 1, 9, 0],
    [4, 4, 0, 3, 1],
  ];
  assert.deepEqual(
    checkpointAbove(last, graph("root", [loader(1), context(2, null, 1), context(3, 2, null), last], links)),
    A,
  );
  assert.deepEqual(
    checkpointAbove(last, graph("root", [loader(1), second(4), context(2, null, 1), context(3, 2, 4), last], links)),
    B,
  );
});

for (const [set, get] of [
  ["SetNode", "GetNode"],
  ["easy setNode", "easy getNode"],
]) {
  test(`${set} and ${get}, also from inside a subgraph`, () => {
    const setter = { id: 2, type: set, widgets: [{ value: "m" }], inputs: [{ name: "MODEL", type: "MODEL", link: 1 }] };
    const getter = { id: 3, type: get, widgets: [{ value: "m" }], inputs: [] };
    const here = apply(2);
    assert.deepEqual(
      checkpointAbove(
        here,
        graph(
          "root",
          [loader(1), setter, getter, here],
          [
            [1, 1, 0, 2, 0],
            [2, 3, 0, 9, 0],
          ],
        ),
      ),
      A,
    );
    const inner = apply(2);
    const subgraph = graph("inside", [{ ...getter }, inner], [[2, 3, 0, 9, 0]]);
    const root = graph(
      "root",
      [loader(1), { ...setter }, { id: 5, type: "inside", subgraph, inputs: [] }],
      [[1, 1, 0, 2, 0]],
    );
    assert.deepEqual(checkpointAbove(inner, root), A);
  });
}

test("Use Everywhere: the link that it notes for an input without one", () => {
  const last = apply(null);
  const root = graph(
    "root",
    [loader(1), { id: 2, type: "Anything Everywhere", inputs: [{ name: "anything", type: "MODEL", link: 1 }] }, last],
    [[1, 1, 0, 2, 0]],
  );
  assert.equal(checkpointAbove(last, root), null);
  root.extra = {
    ue_links: [
      { downstream: "9", downstream_slot: 0, upstream: "1", upstream_slot: 0, controller: "2", type: "MODEL" },
    ],
  };
  assert.deepEqual(checkpointAbove(last, root), A);
});

test("two ways to one loader are no circle", () => {
  const last = apply(5);
  const root = graph(
    "root",
    [
      loader(1),
      { id: 2, type: "LoraLoader", inputs: [model(1)] },
      { id: 3, type: "LoraLoader", inputs: [model(2)] },
      {
        id: 4,
        type: "SomebodysMixer",
        inputs: [
          { ...model(3), name: "x" },
          { ...model(4), name: "y" },
        ],
      },
      last,
    ],
    [
      [1, 1, 0, 2, 0],
      [2, 1, 0, 3, 0],
      [3, 2, 0, 4, 0],
      [4, 3, 0, 4, 1],
      [5, 4, 0, 9, 0],
    ],
  );
  assert.deepEqual(checkpointAbove(last, root), A);
});

// ------------------------------------------------------------------- known only during the run

test("a loader that does not say what it loads is no loader of nothing", () => {
  const unknown = (id) => ({
    id,
    type: "GGUFLoaderKJ",
    inputs: [{ name: "model_name", type: "COMBO", widget: { name: "model_name" }, link: null }],
    widgets: [{ name: "extra_model_name", value: "none" }],
  });
  const first = {
    type: "Any Switch (rgthree)",
    inputs: [
      { name: "any_01", type: "*", link: 1 },
      { name: "any_02", type: "*", link: 2 },
    ],
  };
  assert.deepEqual(between(first), A);
  assert.equal(between(first, { first: unknown(1) }), null);
  assert.deepEqual(between(first, { first: { ...unknown(1), mode: 2 } }), B);
  const context = {
    type: "Context (rgthree)",
    inputs: [
      { name: "model", type: "MODEL", link: 1 },
      { name: "base_ctx", type: "RGTHREE_CONTEXT", link: 2 },
    ],
  };
  assert.equal(between(context, { first: unknown(1) }), null);
  assert.deepEqual(between(context), A);
});

test("a model that is connected to a loader counts instead of its file", () => {
  const full = (name) => ({
    type: "easy fullLoader",
    inputs: [{ name, type: "MODEL", link: 1 }],
    widgets: [{ name: "ckpt_name", value: "b.safetensors" }],
  });
  assert.deepEqual(between(full("model_override")), A);
  assert.deepEqual(between(full("model_override"), { first: { ...loader(1), mode: 2 } }), B);
  assert.equal(between(full("model")), null, "nobody knows what it does with it");
});

test("a file that is drawn by lot, or comes from what was kept, is not known", () => {
  const random = (value) => ({
    type: "Random Checkpoint Loader (LoraManager)",
    inputs: [],
    widgets: [
      { name: "ckpt_name", value: "a.safetensors" },
      { name: "select_at_random", value },
    ],
  });
  assert.equal(between(random(true)), null);
  assert.deepEqual(between(random(false)), A);
  const shared = (key, mode) => ({
    type: "CheckpointLoaderSimpleShared //Inspire",
    inputs: [],
    widgets: [
      { name: "ckpt_name", value: "a.safetensors" },
      { name: "key_opt", value: key },
      { name: "mode", value: mode },
    ],
  });
  assert.equal(between(shared("k", "Read Only")), null);
  assert.equal(between(shared("k", "Auto")), null);
  assert.deepEqual(between(shared("k", "Override Cache")), A);
  assert.deepEqual(between(shared("", "Auto")), A);
});
