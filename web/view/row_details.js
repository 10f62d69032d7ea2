/** The dialogs of one row: its weight over the steps, its blocks, and its trigger words. */

import { told } from "../rows/format.js";
import * as edits from "../rows/state.js";
import { openBlocksDialog } from "./blocks_dialog.js";
import { nameOf } from "./row.js";
import { openStepsDialog } from "./steps_dialog.js";
import { openWordsDialog } from "./words_dialog.js";

/** What all these dialogs need from a row; null if it can't be edited. */
function detailsOf(editor, key) {
  const rowNow = () => editor.rows.find((each) => each.key === key);
  const row = rowNow();
  if (!row || editor.readOnly || edits.faultOf(row) !== null) return null;
  return {
    name: nameOf(row, editor.itemOf(key)),
    entry: () => rowNow()?.entry ?? row.entry,
    change: (members) => editor.edit((rows) => edits.setMembers(rows, key, members)),
  };
}

export function openSteps(editor, key) {
  const details = detailsOf(editor, key);
  if (details) openStepsDialog(details);
}

export function openWords(editor, key) {
  const details = detailsOf(editor, key);
  if (details) openWordsDialog({ ...details, words: editor.itemOf(key)?.trigger_words ?? [] });
}

export function openBlocks(editor, key) {
  const details = detailsOf(editor, key);
  if (!details) return;
  const checkpoint = editor.knowledge.checkpointOf(editor.host.checkpoint());
  openBlocksDialog({
    ...details,
    rows: checkpoint?.blocks ?? [],
    strengths: editor.knowledge.strengths.get(editor.itemOf(key)?.model ?? details.entry().model) ?? null,
    check: async (blocks) => {
      const text = JSON.stringify([{ model: "civitai:1@1", blocks }]);
      const answer = await editor.server.post("/air_lora/parse", { text });
      const fault = answer.ok ? answer.data.errors?.[0] : answer.error;
      return fault ? told(fault) : null;
    },
  });
}
