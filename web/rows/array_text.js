/**
 * JSON text of the widget <-> rows. Pure. The text is the source of truth; what isn't edited is written back unchanged.
 *
 * Reads only strict JSON: an array of entries, one entry, a Runware task with a `lora` member, or an array of tasks of
 * which one has it. Everything else is `ok: false` and stays text; the server reads it on request.
 */

/**
 * @typedef {{ key: number, entry: any }} Row `entry` is the array's value at this index, including unknown fields;
 *   `key` stays the same as long as the row exists, even if it moves.
 * @typedef {{ ok: true, rows: Row[], wrapper: Wrapper } | { ok: false, reason: string, rows: Row[], wrapper: null }} Reading
 * @typedef {{ kind: "array" } | { kind: "single" } | { kind: "task", task: object } |
 *   { kind: "tasks", tasks: any[], index: number }} Wrapper what contains the entries
 */

let lastKey = 0;

/** @returns {Row} */
export function newRow(entry) {
  lastKey += 1;
  return { key: lastKey, entry };
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const hasLora = (value) => isObject(value) && Array.isArray(value.lora);

/** @returns {Reading} */
export function readArray(text) {
  if (typeof text !== "string" || text.trim() === "") return { ok: true, rows: [], wrapper: { kind: "array" } };
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refused(error instanceof Error ? error.message : String(error));
  }
  if (hasLora(value)) return read(value.lora, { kind: "task", task: value });
  if (isObject(value)) {
    return "model" in value ? read([value], { kind: "single" }) : refused('the object has no "model"');
  }
  if (!Array.isArray(value)) return refused("expected an array or an object");
  const tasks = value.filter(hasLora);
  if (tasks.length === 0) return read(value, { kind: "array" });
  if (tasks.some((task) => JSON.stringify(task.lora) !== JSON.stringify(tasks[0].lora))) {
    return refused("the request has several tasks with different lora arrays");
  }
  if (tasks.length > 1) return refused("the request has several tasks");
  return read(tasks[0].lora, { kind: "tasks", tasks: value, index: value.indexOf(tasks[0]) });
}

/** @returns {Reading} */
function read(entries, /** @type {Wrapper} */ wrapper) {
  return { ok: true, rows: entries.map(newRow), wrapper };
}

/** @returns {Reading} */
function refused(/** @type {string} */ reason) {
  return { ok: false, reason, rows: [], wrapper: null };
}

/** The text of these rows, with one entry on each line. A request around them is kept. */
export function writeArray(rows, wrapper = { kind: "array" }) {
  const entries = rows.map((row) => row.entry);
  if (wrapper.kind === "task") return JSON.stringify({ ...wrapper.task, lora: entries }, null, 2);
  if (wrapper.kind === "tasks") {
    const tasks = wrapper.tasks.slice();
    tasks[wrapper.index] = { ...tasks[wrapper.index], lora: entries };
    return JSON.stringify(tasks, null, 2);
  }
  if (entries.length === 0) return "[]";
  return `[\n${entries.map((entry) => `  ${oneLine(entry)}`).join(",\n")}\n]`;
}

function oneLine(value) {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${oneLine(each)}`);
  return members.length ? `{ ${members.join(", ")} }` : "{}";
}

/** Gives new rows the keys of old rows with the same model, so that the page keeps its elements. */
export function keepKeys(oldRows, newRows) {
  const free = new Map();
  for (const row of oldRows) {
    const model = String(row.entry?.model);
    if (!free.has(model)) free.set(model, []);
    free.get(model).push(row.key);
  }
  return newRows.map((row) => {
    const key = free.get(String(row.entry?.model))?.shift();
    return key === undefined ? row : { key, entry: row.entry };
  });
}
