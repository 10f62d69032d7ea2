/** Edits of rows. Pure: each takes rows and returns new ones. Nothing is changed in place, so undo keeps its states. */

import { newRow } from "./array_text.js";
import { arePoints, changesOverSteps, formOf, isPoints, isSpanWrong, lastOf, ofForm, strongest } from "./schedule.js";

const DEFAULT_WEIGHT = 1.0;
export const NEW_WEIGHT = 0.75;
export const LEAST_WEIGHT = -4;
export const MOST_WEIGHT = 4;

export const isEntry = (row) => typeof row.entry === "object" && row.entry !== null && !Array.isArray(row.entry);
export const modelOf = (row) => {
  const model = isEntry(row) ? row.entry.model : undefined;
  return typeof model === "string" ? model.trim() : Number.isInteger(model) ? String(model) : "";
};
export const isOn = (row) => isEntry(row) && row.entry.enabled !== false;
/** The weight; for points over the steps, the strongest. */
export const weightOf = (row) => strongest(row.entry?.weight ?? DEFAULT_WEIGHT);
export const isScheduled = (row) => isEntry(row) && changesOverSteps(row.entry);
export const blocksOf = (row) => row.entry?.blocks ?? null;
export const clipWeightOf = (row) => row.entry?.clip_weight ?? null;

/** What is wrong with this row, independent of its model: a name in strings.js, or null. */
export function faultOf(row) {
  if (!isEntry(row)) return "stateUnreadable";
  if (modelOf(row) === "") return "noModel";
  if (unknownKeysOf(row).length) return "unknownKey";
  if (isPoints(row.entry.weight) && !arePoints(row.entry.weight, lastOf(row.entry))) return "wrongPoints";
  if (isSpanWrong(row.entry)) return "wrongSpan";
  if (row.entry.words !== undefined && !areWords(row.entry.words)) return "wrongWords";
  return isWeight(weightOf(row)) && (clipWeightOf(row) === null || isWeight(clipWeightOf(row))) ? null : "wrongWeight";
}

/** The keys that the server accepts in an entry. Any other key is an error there. */
const KEYS = new Set(
  ["model", "weight", "transformer", "clip_weight", "enabled"].concat([
    "start",
    "end",
    "hold",
    "count",
    "blocks",
    "words",
  ]),
);
export const unknownKeysOf = (row) => (isEntry(row) ? Object.keys(row.entry).filter((key) => !KEYS.has(key)) : []);

/** The trigger words that count: those that the entry chooses, or else all that are known of the file. */
export const wordsOf = (row, item) =>
  isEntry(row) && Array.isArray(row.entry.words) ? row.entry.words : (item?.trigger_words ?? []);

const areWords = (value) => Array.isArray(value) && value.every((each) => typeof each === "string");

const isWeight = (value) =>
  typeof value === "number" && Number.isFinite(value) && value >= LEAST_WEIGHT && value <= MOST_WEIGHT;

function changed(rows, key, change) {
  return rows.map((row) => (row.key === key && isEntry(row) ? { key, entry: change({ ...row.entry }) } : row));
}

export function setOn(rows, key, on) {
  return changed(rows, key, (entry) => {
    if (on) delete entry.enabled;
    else entry.enabled = false;
    return entry;
  });
}

export const setAllOn = (rows, on) => rows.reduce((made, row) => setOn(made, row.key, on), rows);

/** Points over the steps keep their form, even when the weight is 0 for a moment while a user types 0.6. */
export const setWeight = (rows, key, weight) =>
  changed(rows, key, (entry) => ({
    ...entry,
    weight: isPoints(entry.weight) ? scaled(key, entry.weight, weight) : weight,
  }));

/** Row → the form that its points had, and the points that were last made from it. */
const forms = new Map();

function scaled(key, points, goal) {
  const kept = forms.get(key);
  const form = kept?.made === JSON.stringify(points) ? kept.form : formOf(points);
  if (!form) return points;
  const made = ofForm(form, goal);
  forms.set(key, { form, made: JSON.stringify(made) });
  return made;
}

/** Sets members of the entry; a member that is null is removed. */
export function setMembers(rows, key, members) {
  return changed(rows, key, (entry) => {
    for (const [name, value] of Object.entries(members)) {
      if (value === null) delete entry[name];
      else entry[name] = value;
    }
    return entry;
  });
}

/** @param {number | null} weight null: the same as `weight` */
export function setClipWeight(rows, key, weight) {
  return changed(rows, key, (entry) => {
    if (weight === null) delete entry.clip_weight;
    else entry.clip_weight = weight;
    return entry;
  });
}

/** Whether every entry has its own CLIP weight. */
export const haveAllClip = (rows) =>
  rows.some(isEntry) && rows.every((row) => !isEntry(row) || clipWeightOf(row) !== null);

/** Gives every entry its own CLIP weight, or removes all of them. */
export const setAllClip = (rows, separate) =>
  rows.reduce((made, row) => {
    if (!isEntry(row)) return made;
    return setClipWeight(made, row.key, separate ? (clipWeightOf(row) ?? weightOf(row)) : null);
  }, rows);

/** Puts another LoRA or version into the row. Removes the chosen trigger words, which belong to the old one. */
export function replaceModel(rows, key, model) {
  return changed(rows, key, (entry) => {
    delete entry.words;
    return { ...entry, model };
  });
}
export const remove = (rows, key) => rows.filter((row) => row.key !== key);
export const append = (rows, entries) => [...rows, ...entries.map((entry) => newRow(entry))];

export function duplicate(rows, key) {
  return rows.flatMap((row) => (row.key === key ? [row, newRow(structuredClone(row.entry))] : [row]));
}

/** Moves a row to `index`. */
export function moveTo(rows, key, index) {
  const row = rows.find((each) => each.key === key);
  if (!row) return rows;
  const others = remove(rows, key);
  others.splice(Math.max(0, Math.min(index, others.length)), 0, row);
  return others;
}

/** The sum of the enabled weights, their number, and the largest. Weights of 0 don't count. */
export function totalOf(rows) {
  const weights = rows.filter((row) => isOn(row) && isWeight(weightOf(row)) && weightOf(row) !== 0).map(weightOf);
  return {
    total: weights.reduce((sum, weight) => sum + weight, 0),
    count: weights.length,
    most: Math.max(0, ...weights),
  };
}

/** The entry to write for a response of /air_lora/parse. Default values aren't written. */
export function entryOfParsed(parsed, newWeight = NEW_WEIGHT) {
  const weight = parsed.weight_given === false ? newWeight : (parsed.weight ?? newWeight);
  const entry = { model: parsed.model, weight };
  if (parsed.weight_given !== false && typeof parsed.clip_weight === "number" && parsed.clip_weight !== weight) {
    entry.clip_weight = parsed.clip_weight;
  }
  if (parsed.enabled === false) entry.enabled = false;
  if (parsed.transformer && parsed.transformer !== "both") entry.transformer = parsed.transformer;
  if (parsed.schedule) {
    const { weight: over, ...rest } = parsed.schedule;
    const isGiven = parsed.weight_given !== false;
    const form = isPoints(over) && !isGiven ? formOf(over) : null;
    Object.assign(entry, rest, { weight: form ? ofForm(form, weight) : isGiven ? (over ?? weight) : weight });
  }
  if (parsed.blocks) entry.blocks = parsed.blocks;
  if (parsed.words) entry.words = parsed.words;
  return entry;
}
