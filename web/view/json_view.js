/** The array as text. What is typed becomes the widget's text, even if rows can't show it. */

import { plain } from "../rows/format.js";
import { t } from "../strings.js";
import { el, setText, testId } from "./dom.js";

export class JsonView {
  /** @param {{onInput: (text: string) => void, onSettled: () => void, parse: (text: string) => Promise<any>, onTidy: (entries: any[]) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.asked = null;
    this.area = el("textarea", {
      class: "air-lora-json",
      spellcheck: "false",
      "aria-label": t("jsonText"),
      dataset: testId("json"),
      oninput: () => actions.onInput(this.area.value),
      onblur: () => actions.onSettled(),
    });
    this.note = el("div", {
      class: "air-lora-json-note",
      role: "status",
      "aria-live": "polite",
      dataset: testId("json-note"),
    });
    this.tidy = el(
      "button",
      {
        type: "button",
        class: "air-lora-plain",
        hidden: true,
        dataset: testId("json-tidy"),
        onclick: () => actions.onTidy(this.entries),
      },
      t("jsonTidy"),
    );
    this.element = el(
      "div",
      { class: "air-lora-json-view", hidden: true },
      this.area,
      el("div", { class: "air-lora-json-foot" }, this.note, this.tidy),
    );
  }

  update(text, reading, readOnly) {
    this.area.readOnly = readOnly;
    if (this.area.value !== text) this.area.value = text;
    if (reading.ok) {
      this.#say("", "");
      this.asked = null;
      return;
    }
    if (this.asked === text) return;
    this.asked = text;
    this.#say(t("jsonError", { reason: plain(reading.reason, 200) }), "fault");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(text, readOnly), 400);
  }

  /** For text that isn't strict JSON: the server also reads comments, trailing commas, prompts, and whole workflows. */
  async #ask(text, readOnly) {
    const answer = await this.actions.parse(text);
    if (this.asked !== text || !answer.ok) return;
    const { entries, errors } = answer.data;
    if (errors?.length || !entries?.length) {
      this.#say(t("jsonError", { reason: plain(errors?.[0]?.message ?? t("jsonEmpty"), 300) }), "fault");
      return;
    }
    this.entries = entries;
    this.#say(t("jsonLenient", { count: entries.length }), "hint");
    this.tidy.hidden = readOnly;
  }

  #say(text, kind) {
    setText(this.note, text);
    this.note.dataset.kind = kind;
    this.tidy.hidden = true;
  }
}
