/** Links of ComfyUI's graph objects, in the format of every release of the front end. Pure. */

export function linkOf(graph, id) {
  if (id === null || id === undefined || !graph) return null;
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id] ?? null;
}

export const nodesOf = (graph) => graph?.nodes ?? graph?._nodes ?? [];

export function nodeOf(graph, id) {
  return graph.getNodeById?.(id) ?? nodesOf(graph).find((node) => node.id === id) ?? null;
}

/** The node of a subgraph in the graph that contains it. */
export function findHost(graph, subgraph, met = new Set()) {
  if (!graph || met.has(graph)) return null;
  met.add(graph);
  for (const node of nodesOf(graph)) {
    if (!node.subgraph) continue;
    if (node.subgraph === subgraph || (subgraph.id !== undefined && node.subgraph.id === subgraph.id)) return node;
    const inner = findHost(node.subgraph, subgraph, met);
    if (inner) return inner;
  }
  return null;
}

/**
 * The link that Use Everywhere adds to the prompt for an input without one. It stores each in the workflow's `extra`.
 * @returns {{id: string, origin_id: number | string, origin_slot: number} | null}
 */
export function broadcastTo(node, slot) {
  const noted = node.graph?.extra?.ue_links;
  const found = Array.isArray(noted)
    ? noted.find((each) => String(each?.downstream) === String(node.id) && Number(each.downstream_slot) === slot)
    : null;
  const origin = found && nodesOf(node.graph).find((each) => String(each.id) === String(found.upstream));
  return origin
    ? { id: `ue ${node.id} ${slot}`, origin_id: origin.id, origin_slot: Number(found.upstream_slot) }
    : null;
}
