/**
 * Finds the checkpoint file upstream of a node's MODEL input. Pure; works on ComfyUI's graph objects.
 *
 * Follows MODEL up the links in the same way as the prompt: through reroutes, other nodes that take and return a model,
 * the chosen input of switches, contexts and pipes, past muted or bypassed nodes, into subgraphs and out of them, and
 * through Set and Get nodes and Use Everywhere, to the loader whose widget names a file. If several files are possible,
 * it returns none.
 *
 * Doesn't use `app.graphToPrompt()`, which has the answer too: it serializes every widget, and some widgets of other
 * packs draw random numbers or send requests when they are serialized.
 */

import {
  classOf,
  isBypassed,
  isMuted,
  isNamedInVain,
  modelsBesideFile,
  slotsOfModel,
  UNKNOWN,
  valueOf,
} from "./choices.js";
import { broadcastTo, findHost, linkOf, nodeOf, nodesOf } from "./links.js";

const FOLDER_OF_WIDGET = {
  ckpt_name: "checkpoints",
  unet_name: "diffusion_models",
  diffusion_model_name: "diffusion_models",
};
const SUBGRAPH_INPUT = -10;
const SUBGRAPH_OUTPUT = -20;
const MOST_STEPS = 500;

/**
 * The result of a walk: nothing, UNKNOWN, or a file.
 * @typedef {null | typeof UNKNOWN | {folder: string, name: string}} Found
 */

/** @returns {{folder: string, name: string} | null} */
export function checkpointAbove(node, rootGraph) {
  const walk = { root: rootGraph ?? node.graph?.rootGraph ?? node.graph, path: new Set(), steps: 0 };
  const slot = (node.inputs ?? []).findIndex((input) => input.type === "MODEL");
  const found = slot >= 0 ? fromInput(node, slot, walk) : fromNodesBelow(node, walk);
  return found === UNKNOWN ? null : found;
}

/** For a node without a MODEL input (such as LoRA Array): uses the first node downstream that has one. */
function fromNodesBelow(node, walk) {
  const waiting = [node];
  const met = new Set();
  while (waiting.length && met.size < MOST_STEPS) {
    const one = waiting.shift();
    if (met.has(one)) continue;
    met.add(one);
    for (const output of one.outputs ?? []) {
      for (const id of output.links ?? []) {
        const link = linkOf(one.graph, id);
        const below = link && nodeOf(one.graph, link.target_id);
        if (!below) continue;
        const index = (below.inputs ?? []).findIndex((input) => input.type === "MODEL");
        const found = index >= 0 ? fromInput(below, index, walk) : null;
        if (found) return found;
        waiting.push(below);
      }
    }
  }
  return null;
}

function fromInput(node, slot, walk) {
  const link = linkOf(node.graph, node.inputs?.[slot]?.link) ?? broadcastTo(node, slot);
  return link ? fromLink(node.graph, link, walk) : null;
}

function fromLink(graph, link, walk) {
  const step = `${graph.id ?? ""}/${link.id}`;
  walk.steps += 1;
  if (walk.path.has(step)) return null; // a cycle
  if (walk.steps > MOST_STEPS) return UNKNOWN;
  walk.path.add(step);
  try {
    if (Number(link.origin_id) === SUBGRAPH_INPUT) return fromHost(graph, link.origin_slot, walk);
    const origin = nodeOf(graph, link.origin_id);
    if (!origin || isMuted(origin)) return null;
    if (origin.subgraph && !isBypassed(origin)) return fromInside(origin.subgraph, link.origin_slot, walk);
    return fromNode(origin, link.origin_slot, walk);
  } finally {
    walk.path.delete(step);
  }
}

/** Leaves a subgraph: continues at the subgraph's node in the graph that contains it. */
function fromHost(subgraph, slot, walk) {
  const host = findHost(walk.root, subgraph);
  return host ? fromInput(host, slot, walk) : null;
}

function fromInside(subgraph, slot, walk) {
  for (const id of subgraph.outputs?.[slot]?.linkIds ?? []) {
    const link = linkOf(subgraph, id);
    if (link && Number(link.target_id) === SUBGRAPH_OUTPUT) return fromLink(subgraph, link, walk);
  }
  return null;
}

function fromNode(node, outputSlot, walk) {
  const type = classOf(node);
  const file = isBypassed(node) ? null : fileOf(node, type);
  if (file) return isNamedInVain(node) ? UNKNOWN : (overridden(node, walk) ?? file);
  if (/^(easy )?getNode/i.test(type)) return fromSetNode(node, walk);
  const chosen = slotsOfModel(node, outputSlot);
  if (chosen === UNKNOWN) return UNKNOWN;
  const found = new Map();
  for (const slot of chosen.slots) {
    const one = fromInput(node, slot, walk);
    if (!one) continue;
    if (chosen.isFirst) return one;
    found.set(one === UNKNOWN ? one : `${one.folder}/${one.name}`, one);
  }
  if (found.size > 1) return UNKNOWN;
  // A node that no model can enter makes one itself, from an unknown file.
  return [...found.values()][0] ?? (chosen.slots.length || isBypassed(node) ? null : UNKNOWN);
}

/** The model that a loader returns instead of its file if a model is connected to it (Easy Use's `model_override`). */
function overridden(node, walk) {
  for (const slot of modelsBesideFile(node)) {
    const found = fromInput(node, slot, walk);
    if (found) return /override/i.test(node.inputs[slot].name) ? found : UNKNOWN;
  }
  return null;
}

function fileOf(node, type) {
  for (const { name } of node.widgets ?? []) {
    const folder =
      FOLDER_OF_WIDGET[name] ?? (name === "model_name" && /diffusion|unet/i.test(type) ? "diffusion_models" : null);
    if (folder === null) continue;
    const value = valueOf(node, name);
    if (value === UNKNOWN) return UNKNOWN;
    if (typeof value !== "string" || value === "") continue;
    return { folder: /gguf/i.test(type) && folder !== "checkpoints" ? "unet_gguf" : folder, name: value };
  }
  return null;
}

/** A Get node is joined to the Set node with the same name: in its own graph, in those around it, or anywhere. */
function fromSetNode(node, walk) {
  const name = node.widgets?.[0]?.value;
  if (!name) return null;
  const isIt = (each) => /^(easy )?setNode/i.test(classOf(each)) && each.widgets?.[0]?.value === name;
  for (const graph of graphsFrom(node.graph, walk.root)) {
    const setter = nodesOf(graph).find(isIt);
    if (setter) return isMuted(setter) ? null : fromInput(setter, 0, walk);
  }
  return null;
}

/** This graph, then each graph that contains it, then all graphs. */
function graphsFrom(graph, root) {
  const graphs = new Set([graph]);
  for (let host = findHost(root, graph); host?.graph; host = host.graph === root ? null : findHost(root, host.graph))
    graphs.add(host.graph);
  const add = (one) => {
    graphs.add(one);
    for (const node of nodesOf(one)) if (node.subgraph && !graphs.has(node.subgraph)) add(node.subgraph);
  };
  if (root) add(root);
  return graphs;
}
