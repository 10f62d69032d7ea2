/** Chooses which of an entry's trigger words count: a checkbox for each. The choice is stored in the array. */

import { plain } from "../rows/format.js";
import { t } from "../strings.js";
import { openDialog } from "./dialogs.js";
import { el, testId } from "./dom.js";

/** @param {{name: string, entry: () => any, change: (members: Record<string, any>) => void, words: string[]}} row */
export function openWordsDialog({ name, ...row }) {
  openDialog(t("wordsTitle", { name }), "words", () => wordTicks(row), "air-lora-dialog-words");
}

/**
 * @param {{entry: () => any, change: (members: Record<string, any>) => void, words: string[]}} row `words` are all
 *   words of the file; an entry without its own `words` uses all of them
 */
export function wordTicks({ entry, change, words }) {
  const chosen = () => entry().words ?? words;
  // Words in the array that the file doesn't have are kept, and can be removed.
  const all = [...new Set([...words, ...chosen()])];
  const setAll = (made) => {
    const isWhole = made.length === words.length && words.every((word) => made.includes(word));
    change({ words: isWhole ? null : made });
    for (const box of boxes) box.checked = made.includes(box.value);
  };
  const boxes = all.map((word) =>
    el("input", {
      type: "checkbox",
      value: word,
      checked: chosen().includes(word),
      dataset: testId("word-tick"),
      onchange: () => setAll(boxes.filter((box) => box.checked).map((box) => box.value)),
    }),
  );
  return el(
    "div",
    { class: "air-lora-steps" },
    el(
      "div",
      { class: "air-lora-ticks" },
      ...boxes.map((box) =>
        el("label", { class: "air-lora-tick" }, box, el("span", { dir: "auto" }, plain(box.value, 300))),
      ),
    ),
    el(
      "div",
      { class: "air-lora-form-buttons" },
      el(
        "button",
        { type: "button", class: "air-lora-plain", dataset: testId("words-none"), onclick: () => setAll([]) },
        t("wordsNone"),
      ),
      el(
        "button",
        { type: "button", class: "air-lora-plain", dataset: testId("words-every"), onclick: () => setAll(words) },
        t("wordsEvery"),
      ),
    ),
  );
}
