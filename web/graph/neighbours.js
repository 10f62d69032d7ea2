/** What lies near a node in the graph: whether its text is wired, and which prompt its CLIP feeds. Pure. */

import { findHost, linkOf, nodeOf } from "./checkpoint_above.js";

const SUBGRAPH_INPUT = -10;
const MOST_NODES = 200;

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
export function promptWidgetNear(node) {
  const waiting = [...below(node, (output) => output.type === "CLIP")];
  const met = new Set();
  while (waiting.length && met.size < MOST_NODES) {
    const one = waiting.shift();
    if (!one || met.has(one)) continue;
    met.add(one);
    const found = (one.widgets ?? []).find((widget) => /^(text|prompt|positive)/.test(widget.name) && typeof widget.value === "string" && isFree(one, widget));
    if (found) return found;
    waiting.push(...below(one, () => true));
  }
  return null;
}

function* below(node, isWanted) {
  for (const output of (node.outputs ?? []).filter(isWanted)) {
    for (const id of output.links ?? []) {
      const link = linkOf(node.graph, id);
      if (link) yield nodeOf(node.graph, link.target_id);
    }
  }
}

const isFree = (node, widget) => !(node.inputs ?? []).some((input) => input.widget?.name === widget.name && linkOf(node.graph, input.link));
