/** The menu of one row. */

import { plain, sizeText } from "../rows/format.js";
import * as edits from "../rows/state.js";
import { t } from "../strings.js";
import { choose } from "./dialogs.js";
import { openMenu } from "./menu.js";
import { nameOf } from "./row.js";

const PAGE_HOSTS = new Set(["civitai.com", "civitai.red", "civitai.green", "huggingface.co"]);

export function openRowMenu(editor, key, button, at) {
  const rows = editor.rows;
  const index = rows.findIndex((row) => row.key === key);
  const row = rows[index];
  const item = editor.itemOf(key);
  const model = edits.modelOf(row);
  const words = edits
    .wordsOf(row, item)
    .map((word) => plain(word, 400))
    .filter(Boolean);
  const progress = editor.progress.get(model);
  const isFixed = editor.readOnly;
  const page = pageOf(item);
  const hasClip = edits.clipWeightOf(row) !== null;
  const canEdit = !isFixed && edits.isEntry(row);
  openMenu(
    button,
    [
      { id: "info", label: t("info"), disabled: !model, action: () => editor.rowActions.info(key) },
      {
        id: "page",
        label: t("openPage"),
        disabled: !page,
        action: () => window.open(page ?? "", "_blank", "noopener,noreferrer"),
      },
      { id: "copy-air", label: t("copyAir"), disabled: !model, action: () => editor.copy(item?.model ?? model) },
      {
        id: "copy-file",
        label: t("copyFile"),
        disabled: !item?.local_name,
        action: () => editor.copy(item.local_name),
      },
      { id: "copy-words", label: t("copyWords"), disabled: !words.length, action: () => editor.useWords(words, false) },
      {
        id: "append-words",
        label: t("appendWords"),
        disabled: !words.length,
        action: () => editor.useWords(words, true),
      },
      null,
      progress && !progress.state
        ? {
            id: "cancel-download",
            label: t("cancelDownload"),
            action: () =>
              progress.job
                ? editor.server.post("/air_lora/prefetch/cancel", { job: progress.job })
                : editor.host.interrupt(),
          }
        : {
            id: "download",
            label: t("download"),
            disabled: item?.state !== "available",
            action: () => download(editor, model),
          },
      { id: "replace", label: t("replace"), disabled: !canEdit, action: () => editor.openReplace(key) },
      {
        id: "version",
        label: t("changeVersion"),
        disabled: !canEdit || !model,
        action: () => changeVersion(editor, key),
      },
      ...newerVersion(editor, model),
      {
        id: "clip-weight",
        label: t(hasClip ? "removeClipWeight" : "addClipWeight"),
        disabled: !canEdit,
        action: () => {
          editor.edit((all) => edits.setClipWeight(all, key, hasClip ? null : edits.weightOf(row)));
          editor.host.resized(true);
          if (!hasClip) editor.views.get(key)?.clip.input.focus();
        },
      },
      {
        id: "words",
        label: t("chooseWords"),
        disabled: !canEdit || !(item?.trigger_words?.length || row.entry.words?.length),
        action: () => editor.rowActions.words(key),
      },
      { id: "steps", label: t("steps"), disabled: !canEdit, action: () => editor.rowActions.steps(key) },
      { id: "blocks", label: t("blocks"), disabled: !canEdit, action: () => editor.rowActions.blocks(key) },
      null,
      { id: "up", label: t("moveUp"), disabled: isFixed || index === 0, action: () => editor.move(key, -1) },
      {
        id: "down",
        label: t("moveDown"),
        disabled: isFixed || index === rows.length - 1,
        action: () => editor.move(key, 1),
      },
      {
        id: "duplicate",
        label: t("duplicate"),
        disabled: isFixed,
        action: () => editor.edit((all) => edits.duplicate(all, key)),
      },
      { id: "remove", label: t("remove"), disabled: isFixed, action: () => editor.remove(key) },
    ],
    t("rowMenu", { name: nameOf(row, item) }),
    at,
  );
}

/** Hides the mark of a newer version, or shows it again. Nothing if no newer version is known. */
function newerVersion(editor, model) {
  const newer = editor.knowledge.newer.get(model);
  if (!newer) return [];
  const hide = editor.knowledge.newerOf(model) !== null;
  const version = plain(newer.version || newer.model, 60);
  const action = () => editor.knowledge.hideNewer(model, hide);
  return [{ id: "hide-newer", label: t(hide ? "hideNewer" : "showNewer", { version }), action }];
}

/** The address of the model's page if it is on a service's own host, so that a record can't send the user elsewhere. */
export function pageOf(item) {
  try {
    const address = new URL(item?.page ?? "");
    return address.protocol === "https:" && PAGE_HOSTS.has(address.hostname.replace(/^www\./, ""))
      ? address.href
      : null;
  } catch {
    return null;
  }
}

async function download(editor, model) {
  const answer = await editor.server.post("/air_lora/prefetch", { models: [model] });
  if (!answer.ok) editor.host.toast("error", t("download"), plain(answer.error.message, 300));
}

export async function changeVersion(editor, key) {
  const row = editor.rows.find((each) => each.key === key);
  const item = editor.itemOf(key);
  const name = nameOf(row, item);
  const answer = await editor.server.post("/air_lora/versions", { model: edits.modelOf(row) });
  if (!answer.ok) {
    editor.host.toast("error", name, plain(answer.error.message, 300));
    return;
  }
  choose(
    t("versionsTitle", { name }),
    "versions",
    (answer.data.versions ?? []).map((version) => ({
      label: plain(version.version || version.model, 100),
      detail: [
        version.model === (item?.model ?? edits.modelOf(row)) ? t("current") : "",
        (version.family_names ?? []).map((each) => plain(each, 30)).join(", ") || plain(version.base_model ?? "", 30),
        version.published ?? "",
        version.size ? sizeText(version.size) : "",
        version.state === "on_disk" ? t("stateOnDisk") : "",
      ]
        .filter(Boolean)
        .join(" · "),
      about: version.about ?? "",
      action: () => editor.edit((rows) => edits.replaceModel(rows, key, version.model)),
    })),
  );
}
