/** What lies near a node in the graph: whether its text is wired, and which prompt its CLIP feeds. Pure. */

import { findHost, linkOf, nodeOf } from "./links.js";

const SUBGRAPH_INPUT = -10;
const SUBGRAPH_OUTPUT = -20;
const MOST_NODES = 200;
const MOST_DEPTH = 50;

/**
 * Whether an input that has a widget gets its value over a wire. Inside a subgraph, a promoted widget is linked to the
 * subgraph's input, and the value still is the widget's, unless the node outside has a wire there.
 * @returns {"wired" | "free"}
 */
export function hostInputOf(node, input, root) {
  const link = linkOf(node.graph, input.link);
  if (!link) return "free";
  if (Number(link.origin_id) !== SUBGRAPH_INPUT) return "wired";
  const host = findHost(root, node.graph);
  const outer = host?.inputs?.[link.origin_slot];
  return host && outer && outer.link !== null && outer.link !== undefined ? hostInputOf(host, outer, root) : "free";
}

/** The first text widget below this node's CLIP output (the positive prompt, as graphs are drawn), or near the node. */
export function promptWidgetNear(node, root) {
  const waiting = [...below(node, (output) => output.type === "CLIP", root)];
  const met = new Set();
  while (waiting.length && met.size < MOST_NODES) {
    const one = waiting.shift();
    if (!one || met.has(one)) continue;
    met.add(one);
    const found = (one.widgets ?? []).find(
      (widget) =>
        /^(text|prompt|positive)/.test(widget.name) && typeof widget.value === "string" && isFree(one, widget),
    );
    if (found) return found;
    waiting.push(...below(one, () => true, root));
  }
  return null;
}

/** What a node's outputs feed: also out of the subgraph that it lies in, and into one that it feeds. */
function* below(node, isWanted, root) {
  for (const output of (node.outputs ?? []).filter(isWanted)) {
    yield* fedBy(node.graph, output.links, root);
  }
}

function* fedBy(graph, ids, root, depth = 0) {
  for (const id of depth < MOST_DEPTH ? (ids ?? []) : []) {
    const link = linkOf(graph, id);
    if (!link) continue;
    if (Number(link.target_id) === SUBGRAPH_OUTPUT) {
      const host = findHost(root, graph);
      if (host) yield* fedBy(host.graph, host.outputs?.[link.target_slot]?.links, root, depth + 1);
      continue;
    }
    const node = nodeOf(graph, link.target_id);
    if (node?.subgraph) yield* fedBy(node.subgraph, node.subgraph.inputs?.[link.target_slot]?.linkIds, root, depth + 1);
    if (node) yield node;
  }
}

const isFree = (node, widget) =>
  !(node.inputs ?? []).some((input) => input.widget?.name === widget.name && linkOf(node.graph, input.link));
