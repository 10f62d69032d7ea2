/**
 * The errors of single LoRAs in a failed run, from ComfyUI's `execution_error`, with one line for each:
 * "LoRA 2 (lora[1].model): nothing has this name. Check the name." Pure except for the functions passed in.
 */

import { plain } from "./rows/format.js";
import { t } from "./strings.js";

const LINE = /^(?:.*\.)?(?:LoRA \d+ \()?((lora|more|lora_stack)\[(\d+)\])(?:\.\w+)*\)?: (\S.*)$/;
const MOST_TOASTS = 4;
const MOST_TEXT = 400;
// "civitai:1@2 (Ink) was made for …": the row and the toast already show the name, and have little room.
const NAME_BEFORE = /^"?(?:civitai|huggingface|runware|sha256):[^\s":]*"?(?: \([^()\n]{1,100}\))?:? (?=\S)/;

/**
 * @returns {Array<{place: string, index: number | null, text: string, whole: string}>} `index` of the row; null: the
 *   entry came from a link. `whole` is the text with the LoRA's name
 */
export function rowErrors(message) {
  const found = [];
  for (const line of String(message ?? "")
    .slice(0, 20000)
    .split("\n")) {
    const match = LINE.exec(line.trim());
    if (!match) continue;
    const isRow = match[2] === "lora";
    found.push({
      place: match[1],
      index: isRow ? Number(match[3]) : null,
      text: plain(isRow ? match[4].replace(NAME_BEFORE, "") : match[4], MOST_TEXT),
      whole: plain(match[4], MOST_TEXT),
    });
  }
  return found;
}

/** The node of an execution id: "5", or "7:5" for node 5 in the subgraph that is node 7. */
export function nodeAt(graph, id) {
  let node = null;
  for (const step of String(id ?? "").split(":")) {
    node = graph?.nodes?.find((each) => String(each.id) === step) ?? null;
    graph = node?.subgraph;
  }
  return node;
}

/**
 * Reports each row that failed, and marks it.
 * @param detail of `execution_error`
 * @param editor the rows of the node that failed, or null if it shows none
 * @param {(severity: string, summary: string, detail: string) => void} toast
 */
export function tellFailures(detail, editor, toast) {
  const errors = rowErrors(detail?.exception_message);
  const names = editor?.setFailures(errors) ?? [];
  errors.slice(0, MOST_TOASTS).forEach(({ place, index, text, whole }, number) => {
    const name = names[number];
    const row = { number: (index ?? 0) + 1, place, name };
    const summary = index === null ? t("errorInOther", { place }) : t(name ? "errorInNamedRow" : "errorInRow", row);
    toast("error", summary, name ? text : whole);
  });
  if (errors.length > MOST_TOASTS) toast("error", t("errorsMore", { count: errors.length - MOST_TOASTS }), "");
}

/**
 * Reports what ComfyUI rejected before the run. Its own message says only that an input is invalid.
 * @param {Record<string, any> | undefined} nodeErrors `node_errors` of the answer to POST /prompt
 * @param {(id: string) => any} editorOf the rows of a node, or null
 * @param {(severity: string, summary: string, detail: string) => void} toast
 */
export function tellRejections(nodeErrors, editorOf, toast) {
  for (const [id, node] of Object.entries(nodeErrors ?? {})) {
    const errors = Array.isArray(node?.errors) ? node.errors : [];
    if (!String(node?.class_type).startsWith("AirLora")) continue;
    // ComfyUI repeats the message for every input that the check has read.
    const said = new Map(
      errors
        .filter(({ type }) => type === "custom_validation_failed")
        .map(({ details }) => /^(\w+) - ([^]*)$/.exec(String(details ?? "")))
        .flatMap((match) => (match ? [[match[2], match[1]]] : [])),
    );
    for (const [text, input] of said) {
      if (rowErrors(text).length) tellFailures({ exception_message: text }, editorOf(id), toast);
      else toast("error", t("errorInInput", { input }), plain(text, MOST_TEXT));
    }
  }
}
