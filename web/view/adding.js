/** Turns pasted text and dropped files into rows. The server determines which LoRAs they name. */

import { readArray } from "../rows/array_text.js";
import { plain, told } from "../rows/format.js";
import * as edits from "../rows/state.js";
import { t } from "../strings.js";

const MOST_REASONS = 5; // toasts for one paste

/** @returns {Promise<string | null>} why nothing was added */
export async function addText(editor, text) {
  if (editor.readOnly) return t("wired");
  const strict = readArray(text);
  if (strict.ok && strict.rows.length && strict.rows.every((row) => edits.faultOf(row) === null)) {
    editor.addEntries(strict.rows.map((row) => row.entry));
    return null;
  }
  return addParsed(editor, await editor.server.post("/air_lora/parse", { text }));
}

export async function addFiles(editor, files) {
  for (const file of files) {
    const reason = addParsed(editor, await editor.server.dropped(file));
    if (reason !== null)
      editor.host.toast("warn", t("addLora"), t("dropFailed", { name: plain(file.name, 100), reason }));
  }
}

/** Replaces a row's LoRA by the one that a text names. @returns {Promise<string | null>} why it wasn't replaced */
export async function replaceBy(editor, key, text) {
  const answer = await editor.server.post("/air_lora/parse", { text });
  if (!answer.ok) return t("pasteFailed", { reason: told(answer.error) });
  const { entries = [], errors = [] } = answer.data;
  if (!entries.length) return t("pasteFailed", { reason: errors.length ? told(errors[0]) : t("jsonEmpty") });
  if (entries.length > 1) return t("replaceByOne", { count: entries.length });
  editor.edit((rows) => edits.replaceModel(rows, key, entries[0].model));
  return null;
}

function addParsed(editor, answer) {
  if (!answer.ok) return t("pasteFailed", { reason: told(answer.error) });
  const { entries = [], errors = [] } = answer.data;
  if (entries.length)
    editor.addEntries(
      entries.map((entry) => edits.entryOfParsed(entry, editor.host.settings().newWeight)),
      (index) => entries[index].weight_given === false && !entries[index].schedule,
    );
  const reasons = [
    ...new Set(
      errors.map((error) => (error.parameter ? `${plain(error.parameter, 80)}: ${told(error)}` : told(error))),
    ),
  ];
  if (reasons.length && !entries.length) return t("pasteFailed", { reason: reasons.join("\n") });
  for (const reason of reasons.slice(0, MOST_REASONS))
    editor.host.toast("warn", t("addLora"), t("pasteFailed", { reason }));
  if (reasons.length > MOST_REASONS)
    editor.host.toast("warn", t("addLora"), t("errorsMore", { count: reasons.length - MOST_REASONS }));
  return entries.length ? null : t("pasteFailed", { reason: t("jsonEmpty") });
}
