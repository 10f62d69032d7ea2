/** Marks in a row: suggested weight, newer version, a small curve for the steps, and a word for the blocks. */

import { lastOf, pointsOf } from "../rows/schedule.js";
import { blocksOf, faultOf, isScheduled, weightOf } from "../rows/state.js";
import { plain, weightText } from "../rows/format.js";
import { t } from "../strings.js";
import { smallCurve } from "./curve.js";
import { el, setAttribute, setText, testId } from "./dom.js";

/** The curve in words ("from 50 %"), for screen readers. */
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

/** The blocks in one short word: a preset's name, or the count of numbers or names. */
export function blocksInWords(blocks) {
  if (typeof blocks === "string") return plain(blocks.includes(",") ? `${blocks.split(",").length}` : blocks, 30);
  const names = Object.keys(blocks ?? {});
  if (names.length === 1 && names[0] === "lbw") return blocksInWords(blocks.lbw);
  return names.length === 1 ? plain(names[0], 30) : String(names.length);
}

/** "0.80 (0.60 to 1.00), CivitAI" */
export function suggestedText({ weight, least, most, source }) {
  const isRange = Number.isFinite(least) && Number.isFinite(most);
  const range = isRange ? ` (${t("weightSpan", { least: weightText(least), most: weightText(most) })})` : "";
  return `${weightText(weight)}${range}, ${plain(source, 40)}`;
}

export class RowMarks {
  /** @param {{steps: () => void, blocks: () => void, suggested: () => void, newer: () => void}} actions */
  constructor(actions) {
    const mark = (id, onclick) =>
      el("button", { type: "button", class: "air-lora-mark", hidden: true, dataset: testId(id), onclick });
    this.suggested = mark("row-suggested", actions.suggested);
    this.newer = mark("row-newer", actions.newer);
    this.steps = el("button", {
      type: "button",
      class: "air-lora-mark air-lora-mark-steps",
      hidden: true,
      dataset: testId("row-steps"),
      onclick: actions.steps,
    });
    this.blocks = mark("row-blocks", actions.blocks);
    this.shown = "";
  }

  /** @param {any} row @param {{suggested: any, newer: any, readOnly: boolean}} known */
  update(row, known) {
    const { suggested, newer, readOnly } = known;
    this.#showSuggested(row, suggested, readOnly);
    this.#showNewer(row, newer, readOnly);
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

  #showSuggested(row, suggested, readOnly) {
    this.suggested.hidden = !suggested || faultOf(row) !== null;
    if (this.suggested.hidden) return;
    const isUsed = Math.abs(weightOf(row) - suggested.weight) < 0.0005;
    const source = plain(suggested.source, 40);
    setText(this.suggested, `★ ${isUsed ? source : weightText(suggested.weight)}`);
    const label = t(isUsed ? "suggestedUsed" : "suggested", { what: suggestedText(suggested) });
    setAttribute(this.suggested, "aria-label", label);
    setAttribute(this.suggested, "title", label);
    // Not disabled: its label contains the range, which a disabled button doesn't announce.
    setAttribute(this.suggested, "aria-disabled", readOnly || isUsed ? "true" : null);
  }

  #showNewer(row, newer, readOnly) {
    this.newer.hidden = !newer || faultOf(row) !== null;
    if (this.newer.hidden) return;
    const version = plain(newer.version || newer.model, 60);
    setText(this.newer, `↑ ${version}`);
    const label = t("newerVersion", { version, day: plain(newer.published, 10) });
    setAttribute(this.newer, "aria-label", label);
    setAttribute(this.newer, "title", label);
    this.newer.disabled = readOnly;
  }
}
