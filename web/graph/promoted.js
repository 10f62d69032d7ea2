/** Widgets that a subgraph shows on its own node: which text counts, and which node the rows belong to. Pure. */

import { findHost, linkOf, nodeOf } from "./links.js";

const SUBGRAPH_INPUT = -10;
const MOST_DEPTH = 50;

/**
 * The widget whose text counts for this input: for a promoted input, ComfyUI uses the value on the outermost subgraph
 * node.
 * @returns {{node: any, widget: any} | null} null if the input isn't promoted
 */
export function outermost(node, name, root) {
  let found = null;
  let [inner, innerName] = [node, name];
  for (let depth = 0; depth < MOST_DEPTH; depth += 1) {
    const input = (inner.inputs ?? []).find((each) => each.name === innerName);
    const link = linkOf(inner.graph, input?.link);
    if (!link || Number(link.origin_id) !== SUBGRAPH_INPUT) break;
    const host = findHost(root, inner.graph);
    const outer = host?.inputs?.[link.origin_slot];
    const widget = outer && (host.widgets ?? []).find((each) => each.name === outer.name);
    if (!widget) break;
    found = { node: host, widget };
    [inner, innerName] = [host, outer.name];
  }
  return found;
}

/** The innermost node that a subgraph node's input leads to, through all subgraphs between; null if there is none. */
export function innermost(host, name) {
  let [outer, outerName] = [host, name];
  for (let depth = 0; depth < MOST_DEPTH; depth += 1) {
    const graph = outer.subgraph;
    if (!graph) return outer === host ? null : outer;
    const slot = (graph.inputs ?? []).find((each) => each.name === outerName);
    const link = (slot?.linkIds ?? []).map((id) => linkOf(graph, id)).find(Boolean);
    const inner = link && nodeOf(graph, link.target_id);
    if (!inner) return null;
    outerName = inner.inputs?.[link.target_slot]?.name;
    outer = inner;
  }
  return null;
}
