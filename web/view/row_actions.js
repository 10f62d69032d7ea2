/** The actions that a row requests from its editor. Each takes the row's key first. */

import * as edits from "../rows/state.js";
import { showPicture } from "./dialogs.js";
import { openInfo } from "./info_dialog.js";
import { dragRow } from "./row_drag.js";
import { openBlocks, openSteps, openWords } from "./row_details.js";
import { changeVersion, openRowMenu } from "./row_menu.js";
import { nameOf } from "./row.js";

export function rowActionsOf(editor) {
  return {
    /** Addresses of blurred pictures that the user has revealed. Duplicates of their rows show them too. */
    revealed: new Set(),
    settings: () => editor.host.settings(),
    settled: () => editor.host.settled(),
    setWeight: (key, weight) => {
      editor.startWeights.forget(key);
      editor.edit((rows) => edits.setWeight(rows, key, weight), { isSettled: false });
    },
    setClipWeight: (key, weight) => editor.edit((rows) => edits.setClipWeight(rows, key, weight), { isSettled: false }),
    toggle: (key) => editor.edit((rows) => edits.setOn(rows, key, !edits.isOn(rows.find((row) => row.key === key)))),
    move: (key, by) => editor.move(key, by),
    startDrag: (key, event) => dragRow(editor, key, event),
    menu: (key, button, at) => openRowMenu(editor, key, button, at),
    changeVersion: (key) => changeVersion(editor, key),
    replace: (key) => editor.openReplace(key),
    steps: (key) => openSteps(editor, key),
    blocks: (key) => openBlocks(editor, key),
    words: (key) => openWords(editor, key),
    info: (key) => openInfo(editor, key),
    useSuggested: (key) => {
      const model = edits.modelOf(editor.rows.find((each) => each.key === key));
      const suggested = editor.knowledge.suggestedOf(model, editor.host.checkpoint());
      if (suggested) editor.edit((rows) => edits.setWeight(rows, key, editor.startWeights.within(suggested.weight)));
    },
    openSetting: (id) => editor.host.openSetting(id),
    refused: (why) => editor.host.toast("warn", why),
    useWords: (words, isAppended) => editor.useWords(words, isAppended),
    enlarge: (key) => {
      const row = editor.rows.find((each) => each.key === key);
      const item = editor.itemOf(key);
      const address = editor.server.thumbnail(item, 512);
      if (address) showPicture(nameOf(row, item), address);
    },
  };
}
