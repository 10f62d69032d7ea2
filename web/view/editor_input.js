/** Keys, pastes, the wheel, and drops anywhere on the rows. */

import { looksPasted } from "../rows/pasted.js";
import { t } from "../strings.js";

/** Listeners for the editor's element. @param {any} editor */
export const inputOf = (editor) => ({
  onkeydown: (event) => onKey(editor, event),
  onpaste: (event) => onPaste(editor, event),
  onwheel: (event) => onWheel(editor, event),
  ondragover: (event) => onDragOver(editor, event),
  ondragleave: () => {
    editor.drop.hidden = true;
  },
  ondrop: (event) => onDrop(editor, event),
});

function onKey(editor, event) {
  const isText = event.target.closest("input, textarea") !== null;
  // ComfyUI handles undo, redo, save and run, except in a text field.
  if (!isText && (event.ctrlKey || event.metaKey)) return;
  event.stopPropagation();
  const element = event.target.closest("[role=listitem]");
  if (isText || !element || event.defaultPrevented) return;
  const key = [...editor.views].find(([, view]) => view.element === element)?.[0];
  if (event.key === "Delete" && !editor.readOnly) editor.remove(key);
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const near = event.key === "ArrowDown" ? element.nextElementSibling : element.previousElementSibling;
    const id = event.target.closest("[data-air-lora]")?.dataset.airLora;
    near?.querySelector(`[data-air-lora="${id}"]`)?.focus();
  } else return;
  event.preventDefault();
}

async function onPaste(editor, event) {
  // A remaining text selection makes this the event's target, even if the focus is elsewhere.
  if (!editor.element.contains(document.activeElement)) return;
  const text = event.clipboardData?.getData("text/plain") ?? "";
  event.stopPropagation();
  if (event.target.closest("textarea") || editor.readOnly || !text) return;
  if (event.target.closest("input") && !looksPasted(text)) return;
  event.preventDefault();
  const reason = await editor.addText(text);
  if (reason !== null) editor.host.toast("warn", t("addLora"), reason);
}

/** Scrolls a list that can scroll; otherwise zooms the canvas. Never changes a value. */
function onWheel(editor, event) {
  const scrolled = event.target.closest(".air-lora-json, .air-lora-list");
  if (event.ctrlKey || !scrolled || scrolled.scrollHeight <= scrolled.clientHeight + 1) {
    editor.host.wheel?.(event);
    return;
  }
  event.stopPropagation();
}

function onDragOver(editor, event) {
  if (
    editor.readOnly ||
    ![...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === "text/plain")
  )
    return;
  event.preventDefault();
  event.stopPropagation();
  editor.drop.hidden = false;
}

async function onDrop(editor, event) {
  editor.drop.hidden = true;
  if (editor.readOnly) return;
  event.preventDefault();
  event.stopPropagation();
  const files = [...(event.dataTransfer?.files ?? [])];
  const text = event.dataTransfer?.getData("text/plain");
  if (files.length) await editor.addFiles(files);
  else if (text) {
    const reason = await editor.addText(text);
    if (reason !== null) editor.host.toast("warn", t("addLora"), reason);
  }
}
