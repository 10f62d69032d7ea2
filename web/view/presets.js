/** Presets: arrays that the server stores by name, or that are copied as text. */

import { readArray, writeArray } from "../rows/array_text.js";
import * as edits from "../rows/state.js";
import { plain } from "../rows/format.js";
import { t } from "../strings.js";
import { askName, choose } from "./dialogs.js";
import { openMenu } from "./menu.js";

export async function openPresets(editor, button) {
  const answer = await editor.server.get("/air_lora/presets");
  const presets = answer.ok ? (answer.data.presets ?? []) : [];
  const hasRows = editor.rows.length > 0;
  openMenu(
    button,
    [
      ...presets.map((preset, index) => ({
        id: `preset-${index}`,
        label: plain(preset.name, 60),
        disabled: editor.readOnly,
        action: () => load(editor, preset),
      })),
      ...(presets.length
        ? []
        : [
            {
              id: "no-presets",
              label: answer.ok ? t("noPresets") : plain(answer.error.message, 100),
              disabled: true,
              action: () => {},
            },
          ]),
      null,
      {
        id: "save-preset",
        label: t("savePreset"),
        disabled: !hasRows || !answer.ok,
        action: () => askName(t("savePresetTitle"), "preset", (name) => save(editor, name)),
      },
      {
        id: "delete-preset",
        label: t("deletePreset"),
        disabled: !presets.length,
        action: () => forget(editor, presets),
      },
      {
        id: "copy-array",
        label: t("copyArray"),
        disabled: !hasRows,
        action: () => editor.copy(writeArray(editor.rows)),
      },
    ],
    t("presets"),
  );
}

/** Replaces the current rows by those of a preset. ComfyUI's undo restores them. */
function load(editor, preset) {
  const text = typeof preset.lora === "string" ? preset.lora : JSON.stringify(preset.lora);
  const reading = readArray(text);
  if (!reading.ok) {
    editor.host.toast("error", plain(preset.name, 60), t("jsonError", { reason: plain(reading.reason, 200) }));
    return;
  }
  if (!editor.reading.ok) editor.setText("[]");
  editor.edit(() =>
    edits.append(
      [],
      reading.rows.map((row) => row.entry),
    ),
  );
}

async function save(editor, name) {
  const answer = await editor.server.post("/air_lora/presets", { name, lora: writeArray(editor.rows) });
  if (answer.ok) editor.host.toast("success", t("presetSaved", { name: plain(name, 60) }));
  else editor.host.toast("error", t("presets"), plain(answer.error.message, 300));
}

function forget(editor, presets) {
  choose(
    t("deletePresetTitle"),
    "delete-preset",
    presets.map((preset) => ({
      label: plain(preset.name, 60),
      detail: "",
      action: async () => {
        const answer = await editor.server.post("/air_lora/presets/delete", { name: preset.name });
        if (answer.ok) editor.host.toast("success", t("presetDeleted", { name: plain(preset.name, 60) }));
        else editor.host.toast("error", t("presets"), plain(answer.error.message, 300));
      },
    })),
  );
}
