/**
 * The weight over the steps: a curve whose points are dragged or moved by keys, and fields with the same numbers.
 * Changes are written to the entry at once. Escape closes the dialog, and ComfyUI's own undo reverts them.
 */

import { typedWeight } from "../rows/format.js";
import { lastOf, pointsOf, strongest } from "../rows/schedule.js";
import { t } from "../strings.js";
import { curvePath, rangeOf, shownLast, svg } from "./curve.js";
import { openDialog } from "./dialogs.js";
import { el, testId } from "./dom.js";
import { stepsInWords } from "./row_marks.js";

const WIDTH = 360;
const HEIGHT = 140;
const PAD = 14;
const FINE = 0.01;

const ALWAYS = { start: null, end: null, hold: null, count: null };

/** The members of an entry that each preset sets. */
const PRESETS = [
  { id: "always", label: () => t("stepsAlways"), make: () => ALWAYS },
  { id: "first-half", label: () => t("stepsFirstHalf"), make: () => ({ ...ALWAYS, end: 0.5 }) },
  { id: "second-half", label: () => t("stepsSecondHalf"), make: () => ({ ...ALWAYS, start: 0.5 }) },
  { id: "rising", label: () => t("stepsRising"), make: (weight) => ({ ...ALWAYS, weight: line(0, weight) }) },
  { id: "falling", label: () => t("stepsFalling"), make: (weight) => ({ ...ALWAYS, weight: line(weight, 0) }) },
];

const line = (first, last) => [
  [0, first],
  [1, last],
];

/**
 * @param {{name: string, entry: () => any, change: (members: Record<string, any>) => void}} row `entry` is the entry as
 *   it is now; a member that is null is removed
 */
export function openStepsDialog({ name, entry, change }) {
  let chosen = 0;
  const drawing = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "air-lora-curve",
    role: "group",
    "aria-label": t("stepsTitle", { name }),
    ondblclick: (event) => addPoint(...placeOf(event)),
  });
  const says = el("p", { class: "air-lora-curve-says", role: "status", dataset: testId("steps-says") });

  /** The position and the weight at the pointer. */
  function placeOf(event) {
    const box = drawing.getBoundingClientRect();
    const { least, most } = frameOf(entry());
    const x = ((event.clientX - box.left) / box.width) * WIDTH - PAD;
    const y = ((event.clientY - box.top) / box.height) * HEIGHT - PAD;
    const position = (x / (WIDTH - 2 * PAD)) * shownLast(entry());
    return [position, most - (y / (HEIGHT - 2 * PAD)) * (most - least)];
  }

  const tidy = (position) => {
    const last = lastOf(entry());
    const unit = last > 1 ? 1 : FINE;
    return Math.min(last, Math.max(0, Math.round(position / unit) * unit));
  };
  const tidyWeight = (weight) => Math.min(4, Math.max(-4, Math.round(weight / FINE) * FINE));
  const clean = (number) => Math.round(number * 10000) / 10000;

  function setPoints(points) {
    const sorted = points
      .map(([position, weight]) => [clean(tidy(position)), clean(tidyWeight(weight))])
      .sort((one, other) => one[0] - other[0])
      .filter((point, index, all) => index === 0 || point[0] > all[index - 1][0]);
    const { start, end } = entry();
    change({ weight: sorted.length > 1 ? sorted : (sorted[0]?.[1] ?? 1), start: start ?? null, end: end ?? null });
    draw();
  }

  function movePoint(index, position, weight) {
    const points = pointsOf(entry()).map((point) => [...point]);
    const unit = lastOf(entry()) > 1 ? 1 : FINE;
    const least = index > 0 ? points[index - 1][0] + unit : 0;
    const most = index < points.length - 1 ? points[index + 1][0] - unit : lastOf(entry());
    points[index] = [Math.min(most, Math.max(least, tidy(position))), weight];
    setPoints(points);
  }

  function addPoint(position, weight) {
    const points = pointsOf(entry()).map((point) => [...point]);
    if (points.some((point) => point[0] === clean(tidy(position)))) return;
    setPoints([...points, [position, weight]]);
    chosen = pointsOf(entry()).findIndex((point) => point[0] === clean(tidy(position)));
    draw();
    focusPoint();
  }

  function removePoint(index) {
    setPoints(pointsOf(entry()).filter((_, each) => each !== index));
    chosen = Math.max(0, index - 1);
    focusPoint();
  }

  const focusPoint = () => /** @type {any} */ (drawing.querySelectorAll("[role=slider]")[chosen])?.focus();

  function onKey(event, index) {
    const [position, weight] = pointsOf(entry())[index];
    const wide = event.shiftKey ? 10 : 1;
    const across = (lastOf(entry()) > 1 ? 1 : FINE) * wide * (lastOf(entry()) > 1 ? 1 : 5);
    const moves = {
      ArrowLeft: [-across, 0],
      ArrowRight: [across, 0],
      ArrowUp: [0, 0.05 * wide],
      ArrowDown: [0, -0.05 * wide],
    };
    if (event.key in moves) movePoint(index, position + moves[event.key][0], weight + moves[event.key][1]);
    else if (event.key === "Delete" || event.key === "Backspace") removePoint(index);
    else if (event.key === "+" || event.key === "Insert")
      addPoint(position + (shownLast(entry()) - position) / 2, weight);
    else return;
    event.preventDefault();
    event.stopPropagation();
    focusPoint();
  }

  function onDrag(down, index) {
    chosen = index;
    const target = down.currentTarget;
    target.setPointerCapture(down.pointerId);
    const move = (event) => movePoint(chosen, ...placeOf(event));
    const up = () => {
      drawing.removeEventListener("pointermove", move);
      drawing.removeEventListener("pointerup", up);
      focusPoint();
    };
    drawing.addEventListener("pointermove", move);
    drawing.addEventListener("pointerup", up);
    down.preventDefault();
  }

  function draw() {
    const now = entry();
    const frame = frameOf(now);
    const [width, height] = [WIDTH - 2 * PAD, HEIGHT - 2 * PAD];
    const last = shownLast(now);
    const y = (weight) => ((frame.most - weight) / (frame.most - frame.least)) * height;
    const inside = svg("g", { transform: `translate(${PAD} ${PAD})` });
    inside.append(
      svg("path", { class: "air-lora-curve-zero", d: `M0 ${y(0)}H${width}` }),
      svg("path", { class: "air-lora-curve-line", d: curvePath(now, width, height, frame) }),
    );
    pointsOf(now).forEach(([position, weight], index) => {
      inside.append(
        svg("circle", {
          class: "air-lora-curve-point",
          cx: (Math.min(position, last) / last) * width,
          cy: y(weight),
          r: 6,
          tabindex: 0,
          role: "slider",
          "aria-label": t("stepsPoint", { number: index + 1 }),
          "aria-valuenow": weight,
          "aria-valuemin": -4,
          "aria-valuemax": 4,
          "aria-valuetext": stepsInWords({
            ...now,
            weight: [
              [position, weight],
              [position, weight],
            ],
            start: 0,
            end: lastOf(now),
          }),
          "data-air-lora": "steps-point",
          onfocus: () => {
            chosen = index;
          },
          onkeydown: (event) => onKey(event, index),
          onpointerdown: (event) => onDrag(event, index),
        }),
      );
    });
    drawing.replaceChildren(inside);
    says.textContent = stepsInWords(now) || t("stepsSame");
    start.value = now.start ?? 0;
    end.value = now.end ?? (now.count === "numbers" ? "" : 1);
    hold.checked = Boolean(now.hold);
    hold.disabled = pointsOf(now).length < 2;
    count.value = now.count ?? "steps";
  }

  const number = (key) =>
    el("input", {
      type: "number",
      class: "air-lora-text air-lora-number",
      min: "0",
      step: "any",
      dataset: testId(`steps-${key}`),
      onchange: (event) => {
        const typed = typedWeight(event.target.value);
        const now = entry();
        const last = lastOf(now);
        const other = key === "start" ? (now.end ?? last) : (now.start ?? 0);
        const isGood =
          typed !== null && typed >= 0 && typed <= last && (key === "start" ? typed < other : typed > other);
        if (event.target.value === "" || isGood)
          change({ [key]: typed === null || typed === (key === "start" ? 0 : last) ? null : typed });
        draw();
      },
    });
  const start = number("start");
  const end = number("end");
  const hold = el("input", {
    type: "checkbox",
    dataset: testId("steps-hold"),
    onchange: () => {
      change({ hold: hold.checked ? true : null });
      draw();
    },
  });
  const count = el(
    "select",
    {
      class: "air-lora-text",
      dataset: testId("steps-count"),
      onchange: () => {
        const weight = strongest(entry().weight ?? 1);
        change({ count: count.value === "steps" ? null : count.value, start: null, end: null, weight, hold: null });
        draw();
      },
    },
    el("option", { value: "steps" }, t("stepsCountSteps")),
    el("option", { value: "percent" }, t("stepsCountPercent")),
    el("option", { value: "numbers" }, t("stepsCountNumbers")),
  );
  const field = (label, input) => el("label", { class: "air-lora-field" }, el("span", {}, label), input);

  openDialog(
    t("stepsTitle", { name }),
    "steps",
    () =>
      el(
        "div",
        { class: "air-lora-steps" },
        el(
          "div",
          { class: "air-lora-presets", role: "group", "aria-label": t("presets") },
          ...PRESETS.map(({ id, label, make }) =>
            el(
              "button",
              {
                type: "button",
                class: "air-lora-plain",
                dataset: testId(`steps-preset-${id}`),
                onclick: () => {
                  const weight = strongest(entry().weight ?? 1) || 1;
                  change({ weight, ...make(weight) });
                  chosen = 0;
                  draw();
                },
              },
              label(),
            ),
          ),
        ),
        drawing,
        says,
        el(
          "div",
          { class: "air-lora-fields" },
          field(t("stepsStart"), start),
          field(t("stepsEnd"), end),
          field(t("stepsCount"), count),
          field(t("stepsHold"), hold),
        ),
        el("p", { class: "air-lora-hint" }, t("stepsHint")),
      ),
    "air-lora-dialog-steps",
  );
  draw();
}

/** The drawn range of weights, with some room above and below the curve, so that points can be dragged there. */
function frameOf(entry) {
  const { least, most } = rangeOf(entry);
  return { least: Math.max(-4, least < 0 ? least * 1.25 : least), most: Math.min(4, Math.max(1, most * 1.25)) };
}
