/** The line above the rows: all on or off, total of weights, presets, JSON view, add. */

import { weightText } from "../rows/format.js";
import { haveAllClip, isEntry, isOn, totalOf } from "../rows/state.js";
import { t } from "../strings.js";
import { el, icon, iconButton, setAttribute, setText, testId } from "./dom.js";

/** If several LoRAs are active, weights above this make them compete. */
const HIGH_WEIGHT = 0.8;

export class Header {
  constructor(actions) {
    this.all = el("button", {
      type: "button",
      role: "switch",
      class: "air-lora-switch",
      "aria-label": t("toggleAll"),
      title: t("toggleAll"),
      dataset: testId("toggle-all"),
      onclick: actions.toggleAll,
    });
    this.total = el("span", { class: "air-lora-total", dataset: testId("total") });
    this.advice = el("span", { class: "air-lora-advice", role: "note", hidden: true, dataset: testId("advice") });
    this.clip = el(
      "button",
      {
        type: "button",
        class: "air-lora-button air-lora-clip-all",
        "aria-label": t("clipAll"),
        "aria-pressed": "false",
        title: t("clipAll"),
        dataset: testId("clip-all"),
        onclick: actions.toggleClip,
      },
      t("clip"),
    );
    this.wire = el("span", { class: "air-lora-wire", hidden: true, dataset: testId("wired") });
    this.presets = iconButton("bookmark", t("presets"), "presets", () => actions.presets(this.presets), {
      "aria-haspopup": "menu",
      "aria-expanded": "false",
    });
    this.json = iconButton("code", t("jsonViewHint"), "json-view", actions.toggleJson, { "aria-pressed": "false" });
    this.add = el(
      "button",
      {
        type: "button",
        class: "air-lora-add-button",
        dataset: testId("add"),
        onclick: actions.add,
        onpointerenter: actions.mayAdd,
        onfocus: actions.mayAdd,
      },
      icon("plus"),
      el("span", {}, t("addLora")),
    );
    this.element = el(
      "div",
      { class: "air-lora-header" },
      this.all,
      this.total,
      this.advice,
      this.wire,
      el("span", { class: "air-lora-space" }),
      this.clip,
      this.presets,
      this.json,
      this.add,
    );
  }

  update({ rows, readOnly, isJson, isForced, wiredNote }) {
    const on = rows.filter(isOn).length;
    setAttribute(this.all, "aria-checked", String(rows.length > 0 && on === rows.length));
    this.all.classList.toggle("air-lora-mixed", on > 0 && on < rows.length);
    this.all.style.visibility = rows.length ? "" : "hidden";
    this.all.disabled = readOnly || rows.length === 0;
    this.clip.hidden = readOnly || !rows.some(isEntry);
    setAttribute(this.clip, "aria-pressed", String(haveAllClip(rows)));
    this.add.hidden = readOnly;
    setAttribute(this.json, "aria-pressed", String(isJson));
    this.json.disabled = isForced;
    this.wire.hidden = !wiredNote;
    if (this.wire.title !== wiredNote) {
      this.wire.title = wiredNote;
      this.wire.replaceChildren(icon("wire"), wiredNote);
    }
    const { total, count, most } = totalOf(rows);
    const isHigh = count > 1 && most > HIGH_WEIGHT + 1e-9;
    setText(this.total, rows.length ? t("total", { total: weightText(total) }) : "");
    this.total.classList.toggle("air-lora-high", isHigh);
    this.advice.hidden = !isHigh || Boolean(wiredNote);
    setText(this.advice, t("totalAdviceShort"));
    setAttribute(this.advice, "title", t("totalAdvice", { count }));
    setAttribute(this.total, "title", isHigh ? t("totalAdvice", { count }) : t("totalHint"));
  }
}
