/**
 * The weights of LoRAs that were added without one: they start with the weight from the settings, and change to the
 * weight that their author or library suggests as soon as it is known, unless the user has changed them meanwhile.
 */

import * as edits from "../rows/state.js";

export class StartWeights {
  constructor(editor) {
    this.editor = editor;
    /** Row → its LoRA and the weight that it started with. @type {Map<any, {model: string, weight: number}>} */
    this.waiting = new Map();
  }

  /** The start weight of a LoRA from a search result, and whether it is the suggested weight. */
  of(item) {
    const suggested = item?.suggested_weight?.weight;
    const isKnown = typeof suggested === "number";
    return { weight: isKnown ? this.within(suggested) : this.editor.host.settings().newWeight, isKnown };
  }

  /** Registers rows that were added without a weight. */
  await(rows) {
    for (const row of rows) this.waiting.set(row.key, { model: edits.modelOf(row), weight: edits.weightOf(row) });
    this.look();
  }

  /** Sets the suggested weights that are known now on the waiting rows. */
  look() {
    if (!this.waiting.size || this.editor.readOnly) return;
    const checkpoint = this.editor.host.checkpoint();
    /** @type {Array<[any, number]>} */
    const known = [];
    for (const [key, begun] of this.waiting) {
      const row = this.editor.rows.find((each) => each.key === key);
      const model = row ? edits.modelOf(row) : "";
      if (!row || model !== begun.model || edits.weightOf(row) !== begun.weight) {
        this.waiting.delete(key);
        continue;
      }
      const suggested = this.editor.knowledge.suggestedOf(model, checkpoint);
      if (suggested) known.push([key, this.within(suggested.weight)]);
      if (suggested || this.editor.knowledge.isAllKnown(model)) this.waiting.delete(key);
    }
    if (!known.length) return;
    this.editor.host.settled(); // what the user is changing meanwhile is a step of its own
    this.editor.edit((rows) => known.reduce((made, [key, weight]) => edits.setWeight(made, key, weight), rows), {
      isSettled: false,
    });
    this.editor.host.amended(); // one undo step together with adding the rows
  }

  /** Called when the user has set the row's weight. */
  forget(key) {
    this.waiting.delete(key);
  }

  within(weight) {
    const { least, most } = this.editor.host.settings();
    return Math.min(most, Math.max(least, weight));
  }
}
