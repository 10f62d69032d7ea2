/** One weight: a spin button that is changed by dragging, typing, or keys. The mouse wheel doesn't change it. */

import { typedWeight, weightText } from "../rows/format.js";
import { STEP, stepOf, weightAfterKey, within } from "../rows/keyboard.js";
import { t } from "../strings.js";
import { el, setAttribute, testId } from "./dom.js";

const PIXELS_A_STEP = 6;
const CLICK_PIXELS = 3;

/**
 * @param {{id: string, settings: () => {step: number, least: number, most: number}, onchange: (weight: number) => void, onrefused: (why: string) => void, onsettled: () => void}} options
 */
export function weightField({ id, settings, onchange, onrefused, onsettled }) {
  let weight = 1;
  let isReadOnly = false;
  /** The weight when the field got the focus. Escape restores it. */
  let before = weight;
  /** The weight before typing, because the first digits of an out-of-range number are already set as a weight. */
  let kept = weight;

  const set = (made) => {
    kept = made;
    if (isReadOnly || made === weight) return;
    weight = made;
    show();
    onchange(made);
  };
  const base = () => (Number.isFinite(weight) ? weight : 0);
  const show = () => {
    input.value = weightText(weight);
    setAttribute(input, "aria-valuenow", Number.isFinite(weight) ? weight : null);
    setAttribute(input, "aria-valuetext", weightText(weight));
  };
  const stepBy = (direction) => (event) => {
    set(within(base() + direction * stepOf(event, settings().step), settings()));
    onsettled();
  };

  const input = el("input", {
    type: "text",
    inputmode: "decimal",
    role: "spinbutton",
    autocomplete: "off",
    spellcheck: "false",
    class: "air-lora-weight-input",
    title: t("weightHint"),
    dataset: testId(id),
    oninput: () => {
      const typed = typedWeight(input.value);
      const isGood = typed !== null && typed >= settings().least && typed <= settings().most;
      setAttribute(input, "aria-invalid", isGood ? null : "true");
      setAttribute(input, "title", isGood ? t("weightHint") : t("weightRange", settings()));
      if (!isGood || isReadOnly) return;
      weight = typed;
      setAttribute(input, "aria-valuenow", typed);
      setAttribute(input, "aria-valuetext", weightText(typed));
      onchange(typed);
    },
    onfocus: () => {
      before = kept = weight;
    },
    onblur: () => {
      if (input.getAttribute("aria-invalid")) {
        const typed = input.value.trim();
        set(kept);
        if (typed) onrefused(t("weightKept", { typed, weight: weightText(weight), ...settings() }));
      }
      setAttribute(input, "aria-invalid", null);
      setAttribute(input, "title", t("weightHint"));
      show();
      onsettled();
    },
    onkeydown: (event) => {
      const made = weightAfterKey(event, base(), settings());
      if (made !== null) {
        event.preventDefault();
        set(made);
        input.select();
        onsettled();
      } else if (event.key === "Enter" || event.key === "Escape") {
        if (event.key === "Escape") {
          set(before);
          setAttribute(input, "aria-invalid", null);
        }
        input.blur();
      }
    },
    onpointerdown: (event) => drag(event),
  });

  function drag(event) {
    if (event.button !== 0 || isReadOnly || document.activeElement === input) return;
    event.preventDefault();
    const start = { x: event.clientX, weight: base() };
    let last = start.x;
    let steps = 0;
    let isDragging = false;
    input.setPointerCapture(event.pointerId);
    const move = (moved) => {
      isDragging ||= Math.abs(moved.clientX - start.x) > CLICK_PIXELS;
      if (!isDragging) return;
      field.classList.add("air-lora-dragging");
      steps += ((moved.clientX - last) / PIXELS_A_STEP) * stepOf(moved, 1);
      last = moved.clientX;
      const step = settings().step ?? STEP;
      const unit = moved.altKey ? step / 5 : step;
      set(within(start.weight + Math.round((steps * step) / unit) * unit, settings()));
    };
    const up = () => {
      input.removeEventListener("pointermove", move);
      input.removeEventListener("pointerup", up);
      input.removeEventListener("pointercancel", up);
      field.classList.remove("air-lora-dragging");
      if (isDragging) {
        onsettled();
        return;
      }
      input.focus();
      input.select();
    };
    input.addEventListener("pointermove", move);
    input.addEventListener("pointerup", up);
    input.addEventListener("pointercancel", up);
  }

  const arrow = (sign, direction) =>
    el(
      "button",
      {
        type: "button",
        tabindex: "-1",
        "aria-hidden": "true",
        class: "air-lora-weight-step",
        dataset: testId(`${id}-${direction > 0 ? "up" : "down"}`),
        onclick: stepBy(direction),
      },
      sign,
    );
  const field = el("div", { class: "air-lora-weight" }, arrow("−", -1), input, arrow("+", 1));

  return {
    element: field,
    input,
    update(newWeight, label, { readOnly, least, most }) {
      isReadOnly = readOnly;
      input.readOnly = readOnly;
      setAttribute(input, "aria-valuemin", least);
      setAttribute(input, "aria-valuemax", most);
      field.classList.toggle("air-lora-readonly", readOnly);
      setAttribute(input, "aria-label", label);
      if (newWeight === weight && input.value !== "") return;
      weight = newWeight;
      // Text that is being typed ("0.") isn't rewritten.
      if (document.activeElement !== input || typedWeight(input.value) !== newWeight) show();
    },
  };
}
