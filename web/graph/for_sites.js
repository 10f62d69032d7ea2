/** Nodes in saved prompts that only name a LoRA for CivitAI (lora_resolver/workflows/named_for_sites.py). Pure. */

const TITLE = "AIR LoRA, for CivitAI";

const isForSites = (/** @type {any} */ node) =>
  node?.class_type === "LoraLoader" &&
  node._meta?.title === TITLE &&
  !Object.values(node.inputs ?? {}).some((value) => Array.isArray(value));

/**
 * The prompt without these nodes, which describe the saved image and would lie around in the graph.
 * @param {Record<string, any>} prompt
 */
export function withoutNodesForSites(prompt) {
  if (!prompt || typeof prompt !== "object") return prompt;
  return Object.fromEntries(Object.entries(prompt).filter(([, node]) => !isForSites(node)));
}
