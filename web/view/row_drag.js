/** Sorts rows with the pointer. A line shows the row's new position. */

import * as edits from "../rows/state.js";

const EDGE = 24;

export function dragRow(editor, key, event) {
  if (event.button !== 0 || editor.readOnly) return;
  const view = editor.views.get(key);
  const others = editor.rows.filter((row) => row.key !== key).map((row) => editor.views.get(row.key).element);
  let index = editor.rows.findIndex((row) => row.key === key);
  const before = index;
  view.handle.setPointerCapture(event.pointerId);
  view.element.classList.add("air-lora-lifted");

  const clear = () =>
    others.forEach((element) => element.classList.remove("air-lora-line-above", "air-lora-line-below"));
  const move = (moved) => {
    const list = editor.list.getBoundingClientRect();
    if (moved.clientY < list.top + EDGE) editor.list.scrollTop -= 8;
    if (moved.clientY > list.bottom - EDGE) editor.list.scrollTop += 8;
    index = others.filter((element) => {
      const box = element.getBoundingClientRect();
      return moved.clientY > box.top + box.height / 2;
    }).length;
    clear();
    if (index < others.length) others[index].classList.add("air-lora-line-above");
    else others.at(-1)?.classList.add("air-lora-line-below");
  };
  const end = (isDone) => () => {
    clear();
    view.element.classList.remove("air-lora-lifted");
    view.handle.removeEventListener("pointermove", move);
    view.handle.removeEventListener("pointerup", up);
    view.handle.removeEventListener("pointercancel", cancel);
    if (isDone && index !== before) editor.edit((rows) => edits.moveTo(rows, key, index));
  };
  const up = end(true);
  const cancel = end(false);
  view.handle.addEventListener("pointermove", move);
  view.handle.addEventListener("pointerup", up);
  view.handle.addEventListener("pointercancel", cancel);
}
