/**
 * Which checkpoint file is behind a node's MODEL input? Pure over ComfyUI's graph objects.
 *
 * MODEL is followed up the links as the prompt will have it: through reroutes, other nodes that take and give a model, the
 * chosen input of switches, contexts and pipes, past what is muted or bypassed, into subgraphs and out of them, through
 * Set and Get nodes and Use Everywhere, to the loader whose widget names a file. Where several may be meant, none is named.
 *
 * Not from `app.graphToPrompt()`, though it would know: it serializes every widget, and those of other packs roll dice
 * and ask servers when they are serialized.
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

/** What a walk finds: nothing, UNKNOWN, or a file. @typedef {null | typeof UNKNOWN | {folder: string, name: string}} Found */

/** @returns {{folder: string, name: string} | null} */
export function checkpointAbove(node, rootGraph) {
  const walk = { root: rootGraph ?? node.graph?.rootGraph ?? node.graph, path: new Set(), steps: 0 };
  const slot = (node.inputs ?? []).findIndex((input) => input.type === "MODEL");
  const found = slot >= 0 ? fromInput(node, slot, walk) : fromNodesBelow(node, walk);
  return found === UNKNOWN ? null : found;
}

/** A node without a MODEL (an array on its own): the first node that takes its outputs and has one. */
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
  if (walk.path.has(step)) return null; // a circle
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

/** Out of a subgraph: to the node that stands for it in the graph around it. */
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
  // Where no model can come in, the node makes one: from what it doesn't say.
  return [...found.values()][0] ?? (chosen.slots.length || isBypassed(node) ? null : UNKNOWN);
}

/** What a loader gives instead of its file where a model is connected to it (Easy Use's `model_override`). */
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

/** A Get node is joined by its name to a Set node: in its own graph, in those around it, or anywhere. */
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

/** This graph, then each around it, then all. */
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
