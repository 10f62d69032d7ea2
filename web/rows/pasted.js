/** Whether pasted text names LoRAs. Which ones, the server determines. Pure. */

const IDENTIFIER = /^((urn:air|air|civitai|huggingface|hf|sha256|local|runware|bfl):\S+|\d+@\d+)$/i;
const ADDRESS = /^https?:\/\/(www\.)?(civitai\.(com|red|green)|huggingface\.co)\/\S+$/i;

/** Whether the text isn't a search: an identifier, an address, a tag, or anything of several lines. */
export const looksPasted = (text) => /[\n[{<]|:\/\//.test(text.trim()) || IDENTIFIER.test(text.trim().split(/\s/)[0]);

/**
 * Whether the text can only be meant for the rows. On the canvas, an address may be meant for a picture, a workflow for
 * the graph, and lines for a note.
 */
export function namesLoras(text) {
  const trimmed = text.trim();
  if (trimmed && trimmed.split(/\s*\n\s*/).every((line) => IDENTIFIER.test(line) || ADDRESS.test(line))) return true;
  if (/^(\s*<lora:[^<>]+>[\s,]*)+$/i.test(trimmed)) return true;
  try {
    const read = JSON.parse(trimmed);
    const entries = Array.isArray(read) ? read : Array.isArray(read?.lora) ? read.lora : [read];
    return (
      entries.length > 0 &&
      entries.every((entry) => typeof entry?.model === "string" && !("nodes" in entry) && !("class_type" in entry))
    );
  } catch {
    return false;
  }
}
