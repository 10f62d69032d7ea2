/**
 * Calls the pack's own routes. Never throws: a response is `{ok: true, data}` or
 * `{ok: false, error: {code, message, …}}`. For a route that doesn't exist (an older server), the code is "noRoute".
 */

import { isHidden, setHidden } from "./hidden_versions.js";
import { t } from "./strings.js";

const LOOK_AGAIN_MS = 4000;
const MOST_LOOKS = 8;
const MOST_MODELS = 200;
const AT_ONCE = 10; // models, each of which costs the server a request

export class Server {
  /** @param api ComfyUI's api object: fetchApi, apiURL */
  constructor(api) {
    this.api = api;
  }

  post(path, body, signal) {
    const text = JSON.stringify(body);
    return this.#ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: text, signal });
  }

  get(path) {
    return this.#ask(path, {});
  }

  /** Sends a dropped file. The beginning of a .safetensors file is enough to find it among the user's files. */
  async dropped(file) {
    let content = file;
    if (/\.(safetensors|sft)$/i.test(file.name) && file.size > 8) {
      const start = new DataView(await file.slice(0, 8).arrayBuffer());
      content = file.slice(0, Math.min(file.size, 8 + start.getUint32(0, true) + 4096));
    }
    const query = `name=${encodeURIComponent(file.name)}&size=${file.size}`;
    const headers = { "Content-Type": "application/octet-stream" };
    return this.#ask(`/air_lora/dropped?${query}`, { method: "POST", headers, body: content });
  }

  /** The address of an item's thumbnail in this size; null for any other address. */
  thumbnail(item, size) {
    const path = item?.thumbnail;
    if (typeof path !== "string" || !path.startsWith("/air_lora/thumbnail?")) return null;
    return this.api.apiURL(`${path}&size=${size}`);
  }

  async #ask(path, options) {
    try {
      const answer = await this.api.fetchApi(path, options);
      const data = await answer.json().catch(() => null);
      if (answer.ok && data !== null) return { ok: true, data };
      if (data?.error?.message) return { ok: false, error: data.error };
      return { ok: false, error: { code: "noRoute", message: t("noServer") } };
    } catch (error) {
      if (error instanceof Error && error.name === "AbortError")
        return { ok: false, error: { code: "aborted", message: "" } };
      return { ok: false, error: { code: "noServer", message: t("noServer") } };
    }
  }
}

/** What is known about models, for all widgets of the page: requested together, kept, and repeated while pending. */
export class Knowledge {
  constructor(server) {
    this.server = server;
    this.items = new Map();
    this.checkpoints = new Map();
    /** Model → block → its strength there, as measured by Analyze. @type {Map<string, Record<string, number>>} */
    this.strengths = new Map();
    /** Model → a newer version at its service, for the same base model. @type {Map<string, any>} */
    this.newer = new Map();
    /** Model → the weight that its service suggests, if the item has none. @type {Map<string, any>} */
    this.weights = new Map();
    /** Models for which the service's answer is complete. @type {Set<string>} */
    this.asked = new Set();
    this.asking = new Set();
    this.waiting = new Map();
    this.listeners = new Set();
  }

  suggestedOf(model, checkpoint) {
    return this.itemOf(model, checkpoint)?.suggested_weight ?? this.weights.get(model) ?? null;
  }

  /** The newer version to tell the user of; null if there is none, or if the user has hidden it. */
  newerOf(model) {
    const newer = this.newer.get(model);
    return newer && !isHidden(newer.model) ? newer : null;
  }

  /** @param {string} model @param {boolean} hidden */
  hideNewer(model, hidden) {
    setHidden(this.newer.get(model)?.model, hidden);
    this.#tell();
  }

  /** Whether nothing more will become known about it. */
  isAllKnown(model) {
    return this.asked.has(model);
  }

  onChange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  itemOf(model, checkpoint) {
    return this.items.get(keyOf(model, checkpoint)) ?? null;
  }

  checkpointOf(checkpoint) {
    return this.checkpoints.get(JSON.stringify(checkpoint ?? null)) ?? null;
  }

  /** Requests what isn't known yet. Calls within a short time are combined into one request. */
  want(models, checkpoint) {
    const missing = models.filter(
      (model) => model && (this.items.get(keyOf(model, checkpoint)) ?? FORGOTTEN).isForgotten,
    );
    if (!missing.length) return;
    const key = JSON.stringify(checkpoint ?? null);
    const group = this.waiting.get(key) ?? { checkpoint, models: new Set() };
    if (!this.waiting.has(key)) {
      this.waiting.set(key, group);
      setTimeout(() => {
        this.waiting.delete(key);
        this.#ask([...group.models], checkpoint, 0);
      }, 60);
    }
    for (const model of missing) {
      group.models.add(model);
      const known = this.items.get(keyOf(model, checkpoint));
      this.items.set(keyOf(model, checkpoint), { ...known, model, isLooking: true, isForgotten: false });
    }
  }

  /** Marks a model as outdated (its file arrived), so that it is requested again. It keeps its name and picture. */
  forget(model) {
    for (const [key, item] of this.items) {
      if (item.model === model || key.endsWith(`\n${model}`)) this.items.set(key, { ...item, isForgotten: true });
    }
    this.#tell();
  }

  /** Marks everything as outdated: a token or another setting may have changed what the sources return. */
  forgetAll() {
    for (const [key, item] of this.items) this.items.set(key, { ...item, isForgotten: true });
    this.asked.clear();
    this.asking.clear();
    this.#tell();
  }

  async #ask(models, checkpoint, looks) {
    for (let from = 0; from < models.length; from += MOST_MODELS) {
      const some = models.slice(from, from + MOST_MODELS);
      const answer = await this.server.post("/air_lora/info", { models: some, ...(checkpoint ? { checkpoint } : {}) });
      const items = answer.ok && Array.isArray(answer.data.items) ? answer.data.items : [];
      some.forEach((model, index) => {
        const item = items[index] ?? { model, state: "error", error: answer.error ?? null, isUnanswered: true };
        this.items.set(keyOf(model, checkpoint), item);
      });
      if (answer.ok) this.checkpoints.set(JSON.stringify(checkpoint ?? null), answer.data.checkpoint ?? null);
    }
    this.#tell();
    const pending = models.filter((model) => this.itemOf(model, checkpoint)?.pending);
    if (pending.length && looks < MOST_LOOKS)
      setTimeout(() => this.#ask(pending, checkpoint, looks + 1), LOOK_AGAIN_MS);
    this.#askNewer(models.filter((model) => !pending.includes(model)));
  }

  /** Checks for newer versions. The server asks the services once a day at most. */
  async #askNewer(models, looks = 0) {
    const open = models.filter((model) => !this.asking.has(model));
    const some = open.slice(0, AT_ONCE);
    if (!some.length) return;
    if (open.length > AT_ONCE) setTimeout(() => this.#askNewer(open.slice(AT_ONCE)), 0);
    for (const model of some) this.asking.add(model);
    const answer = await this.server.post("/air_lora/newer", { models: some });
    const unknown = new Set(answer.ok ? (answer.data.unknown ?? []) : []);
    for (const model of unknown) this.asking.delete(model);
    if (unknown.size && looks < MOST_LOOKS) setTimeout(() => this.#askNewer([...unknown], looks + 1), LOOK_AGAIN_MS);
    for (const model of some) {
      if (unknown.has(model) && looks < MOST_LOOKS) continue;
      this.asked.add(model);
      const newer = answer.ok ? answer.data.newer?.[model] : null;
      const weight = answer.ok ? answer.data.weights?.[model] : null;
      if (newer) this.newer.set(model, newer);
      else this.newer.delete(model);
      if (weight) this.weights.set(model, weight);
    }
    this.#tell();
  }

  #tell() {
    for (const listener of this.listeners) listener();
  }
}

const FORGOTTEN = Object.freeze({ isForgotten: true });
const keyOf = (model, checkpoint) => `${JSON.stringify(checkpoint ?? null)}\n${model}`;
