/** What a row shows of when and where its entry counts: a small curve, and a word for the blocks. */

import { lastOf, pointsOf } from "../rows/schedule.js";
import { blocksOf, faultOf, isScheduled } from "../rows/state.js";
import { plain, weightText } from "../rows/format.js";
import { t } from "../strings.js";
import { smallCurve } from "./curve.js";
import { el, setAttribute, setText, testId } from "./dom.js";

/** "from 50 %", as a sentence: what a screen reader says for the curve. */
export function stepsInWords(entry) {
  const place = (position) =>
    entry.count === "numbers" ? t("stepNumber", { number: position }) : `${Math.round(position * 100)} %`;
  const points = pointsOf(entry);
  const said = [];
  if (points.length > 1)
    said.push(
      points
        .map(([position, weight]) => t("weightAtStep", { weight: weightText(weight), at: place(position) }))
        .join(", "),
    );
  if ((entry.start ?? 0) > 0) said.push(t("fromStep", { at: place(entry.start) }));
  if ((entry.end ?? lastOf(entry)) < lastOf(entry)) said.push(t("untilStep", { at: place(entry.end) }));
  return said.join(", ");
}

/** The blocks as one short word: a preset's name, or how many numbers or names there are. */
export function blocksInWords(blocks) {
  if (typeof blocks === "string") return plain(blocks.includes(",") ? `${blocks.split(",").length}` : blocks, 30);
  const names = Object.keys(blocks ?? {});
  if (names.length === 1 && names[0] === "lbw") return blocksInWords(blocks.lbw);
  return names.length === 1 ? plain(names[0], 30) : String(names.length);
}

export class RowMarks {
  /** @param {{steps: () => void, blocks: () => void}} actions */
  constructor(actions) {
    this.steps = el("button", {
      type: "button",
      class: "air-lora-mark air-lora-mark-steps",
      hidden: true,
      dataset: testId("row-steps"),
      onclick: actions.steps,
    });
    this.blocks = el("button", {
      type: "button",
      class: "air-lora-mark",
      hidden: true,
      dataset: testId("row-blocks"),
      onclick: actions.blocks,
    });
    this.shown = "";
  }

  update(row) {
    const isFaulty = faultOf(row) !== null;
    const isShown = !isFaulty && isScheduled(row);
    this.steps.hidden = !isShown;
    if (isShown) {
      const { weight, start, end, hold, count } = row.entry;
      const drawn = JSON.stringify([weight, start, end, hold, count]);
      if (drawn !== this.shown) this.steps.replaceChildren(smallCurve(row.entry));
      this.shown = drawn;
      const label = t("stepsLabel", { what: stepsInWords(row.entry) });
      setAttribute(this.steps, "aria-label", label);
      setAttribute(this.steps, "title", label);
    }
    const blocks = blocksOf(row);
    this.blocks.hidden = isFaulty || blocks === null;
    if (blocks === null) return;
    const words = blocksInWords(blocks);
    setText(this.blocks, `▤ ${words}`);
    const label = t("blocksLabel", { what: words });
    setAttribute(this.blocks, "aria-label", label);
    setAttribute(this.blocks, "title", `${label}\n${plain(JSON.stringify(blocks), 300)}`);
  }
}
