/** Which key changes a weight, and by how much. Pure. */

import { LEAST_WEIGHT, MOST_WEIGHT } from "./state.js";

export const STEP = 0.05;

/** The step of this gesture: Shift is ten times larger, Alt five times finer. */
export const stepOf = (event, step = STEP) => step * (event.shiftKey ? 10 : event.altKey ? 0.2 : 1);

export function within(weight, { least = LEAST_WEIGHT, most = MOST_WEIGHT } = {}) {
  return Math.min(most, Math.max(least, Math.round(weight * 10000) / 10000));
}

/** The weight after this key, or null if the key doesn't change it. */
export function weightAfterKey(event, weight, settings = {}) {
  const step = stepOf(event, settings.step);
  switch (event.key) {
    case "ArrowUp":
      return within(weight + step, settings);
    case "ArrowDown":
      return within(weight - step, settings);
    case "PageUp":
      return within(weight + (settings.step ?? STEP) * 10, settings);
    case "PageDown":
      return within(weight - (settings.step ?? STEP) * 10, settings);
    default:
      return null;
  }
}
