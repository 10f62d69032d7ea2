/** The weight over the steps as a line: small in a row, large in its dialog. */

import { lastOf, pointsOf, weightAt } from "../rows/schedule.js";

const SVG = "http://www.w3.org/2000/svg";
const SAMPLES = 120;

/** The last position that is drawn: 1 for shares; for counted steps, a little after the last change. */
export function shownLast(entry) {
  if (entry.count !== "numbers") return 1;
  const positions = [entry.start ?? 0, entry.end ?? 0, ...pointsOf(entry).map((point) => point[0])];
  return Math.max(10, Math.ceil(Math.max(...positions.filter((each) => each < lastOf(entry))) * 1.25));
}

/** The range of weights that is drawn. It always contains 0. */
export function rangeOf(entry) {
  const weights = pointsOf(entry).map((point) => point[1]);
  return { least: Math.min(0, ...weights), most: Math.max(0.1, ...weights) };
}

/** The `d` of a path through the weights, in a box of this size. */
export function curvePath(entry, width, height, { least, most } = rangeOf(entry)) {
  const last = shownLast(entry);
  const y = (weight) => ((most - weight) / (most - least || 1)) * height;
  const places = Array.from({ length: SAMPLES }, (_, index) => (index / SAMPLES) * last);
  return places
    .map((position, index) => {
      const x = ((index / SAMPLES) * width).toFixed(1);
      const next = (((index + 1) / SAMPLES) * width).toFixed(1);
      const at = y(weightAt(entry, position)).toFixed(1);
      return `${index ? "L" : "M"}${x} ${at}L${next} ${at}`;
    })
    .join("");
}

/** @param {Record<string, any>} attributes */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** A small picture of a curve without a label. The element that shows it has the label. */
export function smallCurve(entry) {
  return svg(
    "svg",
    { viewBox: "-1 -1 36 14", class: "air-lora-curve-small", "aria-hidden": "true" },
    svg("path", { d: curvePath(entry, 34, 12) }),
  );
}
