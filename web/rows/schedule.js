/** An entry's weight over the steps, as `lora_resolver/array/schedule.py` reads it. Pure. */

const LEAST_WEIGHT = -4;
const MOST_WEIGHT = 4;
const MOST_POINTS = 64;

export const isPoints = (weight) => Array.isArray(weight);

/** The points of an entry; a plain weight is one point. */
export const pointsOf = (entry) => (isPoints(entry.weight) ? entry.weight : [[0, entry.weight ?? 1]]);

/** Whether the server accepts a weight of points. */
export function arePoints(weight, last = 1) {
  return (
    weight.length >= 2 &&
    weight.length <= MOST_POINTS &&
    weight.every(
      (point, index) =>
        Array.isArray(point) &&
        point.length === 2 &&
        isBetween(point[0], 0, last) &&
        isBetween(point[1], LEAST_WEIGHT, MOST_WEIGHT) &&
        (index === 0 || point[0] > weight[index - 1][0]),
    )
  );
}

const isBetween = (value, least, most) =>
  typeof value === "number" && Number.isFinite(value) && value >= least && value <= most;

/** The largest position in the entry's unit. */
export const lastOf = (entry) => (entry.count === "numbers" ? 10000 : 1);

/** The weight that is farthest from zero, which is shown as the one number for all points. */
export function strongest(weight) {
  if (!isPoints(weight)) return weight;
  const weights = weight.map((point) => point?.[1]).filter((each) => typeof each === "number");
  const further = (each, most) => Math.abs(each) > Math.abs(most) || (Math.abs(each) === Math.abs(most) && each > most);
  return weights.reduce((most, each) => (further(each, most) ? each : most), weights[0] ?? Number.NaN);
}

/** The form of points: their positions, and their weights as shares of the strongest; null if all are 0. */
export function formOf(weight) {
  const now = strongest(weight);
  return now ? weight.map(([position, each]) => [position, each / now]) : null;
}

/** Points of this form with another strongest weight. */
export const ofForm = (form, goal) =>
  form.map(([position, share]) => [position, Math.round(share * goal * 10000) / 10000 + 0]);

/** The weight at a position, from 0 to `lastOf`. */
export function weightAt(entry, position) {
  const start = entry.start ?? 0;
  const end = entry.end ?? lastOf(entry);
  if (position < start || (position >= end && end < lastOf(entry))) return 0;
  const points = pointsOf(entry);
  let before = points[0];
  for (const after of points) {
    if (position < after[0]) {
      const span = after[0] - before[0];
      if (entry.hold || span === 0) return before[1];
      return before[1] + ((position - before[0]) / span) * (after[1] - before[1]);
    }
    before = after;
  }
  return before[1];
}

/** Whether the entry isn't a single weight over all steps. */
export function changesOverSteps(entry) {
  return (
    (entry.start ?? 0) > 0 ||
    (entry.end ?? lastOf(entry)) < lastOf(entry) ||
    new Set(pointsOf(entry).map((point) => point?.[1])).size > 1
  );
}

/** Whether the server rejects start and end. */
export function isSpanWrong(entry) {
  const last = lastOf(entry);
  const { start = 0, end = last } = entry;
  return !isBetween(start, 0, last) || !isBetween(end, 0, last) || start >= end;
}
