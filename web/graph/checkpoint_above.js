/**
 * Which checkpoint file is behind a node's MODEL input? Pure over ComfyUI's graph objects.
 *
 * MODEL is followed up the links: through reroutes, other nodes that take and give a model, into subgraphs and out of
 * them, and through Set/Get nodes, to the loader whose widget names a file.
 */

const FOLDER_OF_WIDGET = {
  ckpt_name: "checkpoints",
  unet_name: "diffusion_models",
  diffusion_model_name: "diffusion_models",
};
const SUBGRAPH_INPUT = -10;
const SUBGRAPH_OUTPUT = -20;
const MOST_STEPS = 500;

/** @returns {{folder: string, name: string} | null} */
export function checkpointAbove(node, rootGraph) {
  const walk = { root: rootGraph ?? node.graph?.rootGraph ?? node.graph, seen: new Set() };
  const above = (node.inputs ?? []).find((input) => input.type === "MODEL");
  if (above) return fromInput(node, node.inputs.indexOf(above), walk);
  return fromNodesBelow(node, walk);
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

export function linkOf(graph, id) {
  if (id === null || id === undefined || !graph) return null;
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id] ?? null;
}

export function nodeOf(graph, id) {
  return graph.getNodeById?.(id) ?? (graph.nodes ?? graph._nodes ?? []).find((node) => node.id === id) ?? null;
}

const nodesOf = (graph) => graph?.nodes ?? graph?._nodes ?? [];

function fromInput(node, index, walk) {
  const link = linkOf(node.graph, node.inputs?.[index]?.link);
  return link ? fromLink(node.graph, link, walk) : null;
}

function fromLink(graph, link, walk) {
  const step = `${graph.id ?? ""}/${link.id}`;
  if (walk.seen.has(step) || walk.seen.size > MOST_STEPS) return null;
  walk.seen.add(step);
  if (Number(link.origin_id) === SUBGRAPH_INPUT) return fromHost(graph, link.origin_slot, walk);
  const origin = nodeOf(graph, link.origin_id);
  if (!origin) return null;
  if (origin.subgraph) return fromInside(origin.subgraph, link.origin_slot, walk);
  return fromNode(origin, walk);
}

/** Out of a subgraph: to the node that stands for it in the graph around it. */
function fromHost(subgraph, slot, walk) {
  const host = findHost(walk.root, subgraph);
  return host ? fromInput(host, slot, walk) : null;
}

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

function fromInside(subgraph, slot, walk) {
  for (const id of subgraph.outputs?.[slot]?.linkIds ?? []) {
    const link = linkOf(subgraph, id);
    if (link && Number(link.target_id) === SUBGRAPH_OUTPUT) return fromLink(subgraph, link, walk);
  }
  return null;
}

function fromNode(node, walk) {
  const type = String(node.comfyClass ?? node.type ?? "");
  const inputs = node.inputs ?? [];
  const file = fileOf(node, type);
  if (file) return file;
  if (/^GetNode/i.test(type)) return fromSetNode(node, walk);
  const models = inputs.flatMap((input, index) => (input.type === "MODEL" ? [index] : []));
  const others = models.length ? models : inputs.flatMap((input, index) => (input.type === "*" || inputs.length === 1 ? [index] : []));
  // In order: of a merge of two models, the first is what the second is merged into.
  for (const index of others) {
    const found = fromInput(node, index, walk);
    if (found) return found;
  }
  return null;
}

function fileOf(node, type) {
  for (const widget of node.widgets ?? []) {
    const folder = FOLDER_OF_WIDGET[widget.name] ?? (widget.name === "model_name" && /diffusion|unet/i.test(type) ? "diffusion_models" : null);
    if (folder === null || typeof widget.value !== "string" || widget.value === "") continue;
    return { folder: /gguf/i.test(type) && folder !== "checkpoints" ? "unet_gguf" : folder, name: widget.value };
  }
  return null;
}

/** KJNodes' Get node: joined by name to a Set node in the same graph. */
function fromSetNode(node, walk) {
  const name = node.widgets?.[0]?.value;
  const setter = nodesOf(node.graph).find((each) => /^SetNode/i.test(String(each.type)) && each.widgets?.[0]?.value === name);
  return setter && name ? fromInput(setter, 0, walk) : null;
}
