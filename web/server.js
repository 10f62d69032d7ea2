/**
 * Asks the pack's own routes. Never throws: an answer is `{ok: true, data}` or `{ok: false, error: {code, message, …}}`.
 * A route that is not there (an older server) answers with code "noRoute".
 */

import { t } from "./strings.js";

const LOOK_AGAIN_MS = 4000;
const MOST_LOOKS = 8;
const MOST_MODELS = 200;

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

  /** Sends a dropped file, or of a .safetensors its beginning: that is enough to find it among the user's files. */
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

  /** The address of a thumbnail as an item names it, in the size wanted; null for any other address. */
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

/** What is known of models, for all widgets of the page: asked for together, kept, and asked again while pending. */
export class Knowledge {
  constructor(server) {
    this.server = server;
    this.items = new Map();
    this.checkpoints = new Map();
    /** Model → block → how strong Analyze found it there. @type {Map<string, Record<string, number>>} */
    this.strengths = new Map();
    this.waiting = new Map();
    this.listeners = new Set();
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

  /** Asks for what is not known yet. Calls of one moment become one request. */
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

  /** What is known of a model is old (its file arrived): it is asked again. Until then it keeps its name and picture. */
  forget(model) {
    for (const [key, item] of this.items) {
      if (item.model === model || key.endsWith(`\n${model}`)) this.items.set(key, { ...item, isForgotten: true });
    }
    this.#tell();
  }

  /** Forgets everything: a token or another setting may have changed what the sources say. */
  forgetAll() {
    for (const [key, item] of this.items) this.items.set(key, { ...item, isForgotten: true });
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
  }

  #tell() {
    for (const listener of this.listeners) listener();
  }
}

const FORGOTTEN = Object.freeze({ isForgotten: true });
const keyOf = (model, checkpoint) => `${JSON.stringify(checkpoint ?? null)}\n${model}`;
