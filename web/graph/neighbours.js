/** The surroundings of a node in the graph: whether its text is linked, and which prompt its CLIP goes to. Pure. */

import { findHost, linkOf, nodeOf } from "./links.js";

const SUBGRAPH_INPUT = -10;
const SUBGRAPH_OUTPUT = -20;
const MOST_NODES = 200;
const MOST_DEPTH = 50;

/**
 * Whether an input that has a widget gets its value from a link. Inside a subgraph, a promoted widget is linked to the
 * subgraph's input, but the value is still the widget's, unless the subgraph's node has a link there.
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

/** The first text widget downstream of this node's CLIP output, which is usually the positive prompt; null if none. */
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

/** The nodes that a node's outputs are linked to, also outside its own subgraph and inside a linked subgraph. */
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
