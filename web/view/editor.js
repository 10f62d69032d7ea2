/**
 * The row editor for one text. The text is the source of truth: `setText` shows a text that was changed elsewhere, and
 * every edit here writes the text with `host.commit`. Uses ComfyUI only through `host`.
 */

import { keepKeys, readArray, writeArray } from "../rows/array_text.js";
import * as edits from "../rows/state.js";
import { plain, told } from "../rows/format.js";
import { t } from "../strings.js";
import { openAddPanel } from "./add_panel.js";
import { addFiles, addText, replaceBy } from "./adding.js";
import { el, setText, testId } from "./dom.js";
import { inputOf } from "./editor_input.js";
import { Header } from "./header.js";
import { JsonView } from "./json_view.js";
import { openPresets } from "./presets.js";
import { nameOf, RowView } from "./row.js";
import { rowActionsOf } from "./row_actions.js";
import { StartWeights } from "./start_weights.js";

/**
 * @typedef {object} Host
 * @property {(text: string) => void} commit writes the widget's text
 * @property {() => void} settled ends an edit, and with it an undo step
 * @property {() => void} amended ends an edit that belongs to the last undo step
 * @property {() => {folder: string, name: string} | null} checkpoint the checkpoint upstream of MODEL
 * @property {() => string | null} outside the text if it is stored elsewhere: on the subgraph node that shows it
 * @property {() => string | null} ran the text of the last run, if it is known
 * @property {() => boolean} isWired whether the text comes from a link
 * @property {() => {step: number, least: number, most: number, newWeight: number, compact: boolean}} settings
 * @property {(words: string[]) => string[] | null} appendToPrompt returns the words that were missing; null: no prompt
 * @property {(id: string) => void} openSetting shows one of our settings
 * @property {() => void} interrupt cancels the current run
 * @property {(event: PointerEvent) => void} pan moves the canvas with the middle button
 * @property {(severity: string, summary: string, detail?: string) => void} toast
 * @property {(event: WheelEvent) => void} wheel zooms the canvas
 * @property {() => boolean} isMeasured whether the page measures the element's height
 * @property {(isEdit?: boolean) => void} resized called when the height of the rows has changed, by an edit or otherwise
 */
export class LoraEditor {
  /** @type {HTMLElement} */
  element;
  /** @type {HTMLElement} */
  list;
  /** @type {HTMLElement} */
  empty;
  /** @type {HTMLElement} */
  drop;
  /** @type {Header} */
  header;
  /** @type {JsonView} */
  json;
  /** @type {HTMLElement} */
  emptyTitle;

  /** @param {{server: any, knowledge: any, host: Host}} parts */
  constructor({ server, knowledge, host }) {
    this.server = server;
    this.knowledge = knowledge;
    this.host = host;
    this.text = "[]";
    /** @type {string | null} */
    this.ranText = null;
    /** @type {import("../rows/array_text.js").Reading | null} */
    this.ranReading = null;
    this.reading = readArray(this.text);
    this.isJson = false;
    this.views = new Map();
    this.progress = new Map();
    this.failures = new Map();
    this.notLoaded = new Map();
    this.startWeights = new StartWeights(this);
    this.#build();
    this.sizes = new ResizeObserver(() => this.#setLeastHeight()); // app mode moves the element
    this.watch();
  }

  /** Updates the rows when more becomes known about the models, until `dispose`. */
  watch() {
    this.forgetKnowledge ??= this.knowledge.onChange(() => {
      this.render();
      this.startWeights.look();
    });
    this.sizes.observe(this.element);
    this.render();
  }

  dispose() {
    this.forgetKnowledge?.();
    this.forgetKnowledge = null;
    this.sizes.disconnect();
  }

  get rows() {
    return this.shown.rows;
  }

  /** What is shown: the text's rows, or those of the last run if the text comes from a link. */
  get shown() {
    return this.host.isWired() ? (this.ranReading ?? readArray("[]")) : this.reading;
  }

  get readOnly() {
    return this.host.isWired();
  }

  /** Shows a text that was changed elsewhere: a workflow was loaded, an edit undone, a subgraph's node edited. */
  setText(text) {
    const made = typeof text === "string" ? text : text === null || text === undefined ? "" : JSON.stringify(text);
    if (made === this.text) return;
    this.#take(made);
    this.render();
    this.host.resized();
  }

  /** Shows the text and the report of a finished run. */
  setRan(text, report) {
    this.#takeRan(text);
    this.#takeReport(report);
    this.render();
    this.host.resized();
  }

  /** Stores by model what the last run couldn't load of a LoRA. Completely loaded LoRAs have no entry. */
  #takeReport(report) {
    const entries = Array.isArray(report?.entries) ? report.entries : [];
    const partly = entries.filter((entry) => entry?.verdict === "fits partly" && Array.isArray(entry.not_loaded));
    this.notLoaded = new Map(
      partly.map(({ model, not_loaded: lost }) => [model, lost.map(({ text }) => String(text)).join("; ")]),
    );
  }

  #takeRan(text) {
    if (text === null) return;
    const reading = readArray(text);
    this.ranReading = { ...reading, rows: keepKeys(this.ranReading?.rows ?? [], reading.rows) };
    this.ranText = text;
  }

  onProgress(event) {
    const rows = this.rows.filter(
      (row) => event.model === edits.modelOf(row) || event.model === this.#item(row)?.model,
    );
    if (!rows.length) return;
    for (const row of rows) {
      if (event.state === "done" || event.error?.code === "cancelled") this.progress.delete(edits.modelOf(row));
      else this.progress.set(edits.modelOf(row), event);
      if (event.state === "done") this.knowledge.forget(edits.modelOf(row));
      if (event.state === "failed" && event.error && event.error.code !== "cancelled" && event.job !== null) {
        this.host.toast("error", nameOf(row, this.#item(row)), told(event.error));
      }
    }
    this.render();
  }

  /** Removes the progress of downloads whose run has ended, or of all (`isAll`) if the server can't be reached. */
  endProgress(isAll) {
    for (const [model, event] of this.progress) {
      if (!event.state && (isAll || !event.job)) this.progress.delete(model);
    }
    this.render();
  }

  /**
   * Marks the rows that the last run couldn't use. An empty list unmarks all.
   * @param {Array<{index: number | null, text: string}>} failures
   * @returns {Array<string | null>} the name of each failure's row; null if this node shows none
   */
  setFailures(failures) {
    // If the text comes from a link, the rows are those of the last good run, and the index doesn't apply to them.
    const rows = failures.map(({ index }) => (index === null || this.readOnly ? undefined : this.rows[index]));
    this.failures = new Map(rows.flatMap((row, number) => (row ? [[edits.modelOf(row), failures[number].text]] : [])));
    this.render();
    return rows.map((row) => (row ? nameOf(row, this.#item(row)) : null));
  }

  // ------------------------------------------------------------------------------------------------- edits

  /** Runs a pure edit over the rows and writes the text. */
  edit(change, { isSettled = true } = {}) {
    if (this.readOnly || !this.reading.ok) return;
    const before = this.reading.rows.length;
    const rows = change(this.reading.rows);
    /** @type {import("../rows/array_text.js").Wrapper} */
    const wrapper =
      this.reading.wrapper.kind === "single" && rows.length !== 1 ? { kind: "array" } : this.reading.wrapper;
    const isSingle = wrapper.kind === "single";
    this.reading = { ...this.reading, rows, wrapper };
    this.text = isSingle ? writeArray(rows).replace(/^\[\s*|\s*\]$/g, "") : writeArray(rows, wrapper);
    this.host.commit(this.text);
    this.render();
    if (rows.length !== before) this.host.resized(true);
    if (isSettled) this.host.settled();
  }

  /** @param {any[]} entries @param {(index: number) => boolean} hasNoWeight whether no weight was given */
  addEntries(entries, hasNoWeight = () => false) {
    const before = this.reading.rows;
    this.edit((rows) => edits.append(rows, entries));
    if (this.reading.rows === before) return;
    this.startWeights.await(this.reading.rows.slice(-entries.length).filter((_, index) => hasNoWeight(index)));
    // Not scrollIntoView, which moves the whole page if the node extends beyond it.
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** Adds the LoRAs that this text names. @returns {Promise<string | null>} why nothing was added */
  addText(text) {
    return addText(this, text);
  }

  addFiles(files) {
    return addFiles(this, files);
  }

  move(key, by) {
    const index = this.reading.rows.findIndex((row) => row.key === key);
    this.edit((rows) => edits.moveTo(rows, key, index + by));
    this.views.get(key)?.handle.focus();
  }

  remove(key) {
    const index = this.reading.rows.findIndex((row) => row.key === key);
    this.edit((rows) => edits.remove(rows, key));
    const next = this.reading.rows[Math.min(index, this.reading.rows.length - 1)];
    (next ? this.views.get(next.key).menu : this.header.add).focus();
  }

  openAdd() {
    if (this.readOnly) return;
    openAddPanel({
      ...this.#searching(),
      addText: (text) => this.addText(text),
      addItem: (item) => {
        const { weight, isKnown } = this.startWeights.of(item);
        this.addEntries([{ model: item.model, weight }], () => !isKnown);
      },
    });
  }

  /** Opens the panel to replace this row's LoRA. Weight, switch and position stay the same. */
  openReplace(key) {
    const row = this.rows.find((each) => each.key === key);
    if (this.readOnly || !row || !edits.isEntry(row)) return;
    openAddPanel({
      ...this.#searching(),
      title: t("replaceTitle", { name: nameOf(row, this.#item(row)) }),
      addText: (text) => replaceBy(this, key, text),
      addItem: (item) => this.edit((rows) => edits.replaceModel(rows, key, item.model)),
    });
  }

  /** The data that the search panel needs. */
  #searching() {
    const checkpoint = this.host.checkpoint();
    const names = this.knowledge.checkpointOf(checkpoint)?.family_names ?? [];
    return {
      server: this.server,
      checkpoint,
      checkpointNames: names.map((name) => plain(name, 30)).join(", "),
      has: (item) => this.#has(item),
    };
  }

  /** Whether a row has this LoRA, by identifier or by content. */
  #has(item) {
    return this.rows.some((row) => {
      const known = this.#item(row);
      return (
        [edits.modelOf(row), known?.model].includes(item.model) || Boolean(item.sha256 && known?.sha256 === item.sha256)
      );
    });
  }

  /** Copies words, or appends them to the prompt downstream of this node. */
  async useWords(words, isAppended) {
    const text = words.join(", ");
    const appended = isAppended ? this.host.appendToPrompt(words) : null;
    if (appended) {
      const said = appended.length ? t("appended", { text: plain(appended.join(", "), 100) }) : t("appendedBefore");
      this.host.toast("success", said);
      return;
    }
    await this.copy(text, isAppended ? "noPrompt" : "copied");
  }

  async copy(text, said = "copied") {
    try {
      await navigator.clipboard.writeText(text);
      this.host.toast("success", t(said, { text: plain(text, 100) }));
    } catch {
      this.host.toast("warn", t("copyFailed"), plain(text, 300));
    }
  }

  // -------------------------------------------------------------------------------------------------- page

  #build() {
    this.header = new Header({
      toggleAll: () => this.edit((rows) => edits.setAllOn(rows, !rows.every(edits.isOn))),
      toggleClip: () => {
        this.edit((rows) => edits.setAllClip(rows, !edits.haveAllClip(rows)));
        this.host.resized(true);
      },
      presets: (button) => openPresets(this, button),
      toggleJson: () => {
        this.isJson = !this.isJson;
        this.render();
        if (this.isJson) this.json.area.focus();
        this.host.resized();
      },
      add: () => this.openAdd(),
      // The server scans its folders before the user clicks.
      mayAdd: () => this.server.post("/air_lora/search", { query: "", source: "local" }),
    });
    this.list = el("div", { role: "list", class: "air-lora-list", "aria-label": t("list"), dataset: testId("list") });
    this.emptyTitle = el("strong", {}, t("empty"));
    this.empty = el(
      "div",
      { class: "air-lora-empty", dataset: testId("empty"), onclick: () => this.openAdd() },
      this.emptyTitle,
      el("span", {}, t("emptyHint")),
    );
    this.json = new JsonView({
      onInput: (text) => {
        this.#take(text);
        this.host.commit(text);
        this.render();
      },
      onSettled: () => this.host.settled(),
      parse: (text) => this.server.post("/air_lora/parse", { text }),
      onTidy: (entries) => {
        this.#take(
          writeArray(
            edits.append(
              [],
              entries.map((entry) => edits.entryOfParsed(entry, this.host.settings().newWeight)),
            ),
          ),
        );
        this.isJson = false;
        this.host.commit(this.text);
        this.render();
        this.host.resized();
        this.host.settled();
      },
    });
    this.drop = el("div", { class: "air-lora-drop", hidden: true, "aria-hidden": "true" }, t("dropHere"));
    this.element = el(
      "div",
      {
        // A click between the rows gives them the focus, and so the next paste.
        class: "air-lora",
        tabindex: "-1",
        dataset: testId("widget"),
        // A press on the rows must not drag the node, and keys must not trigger ComfyUI's shortcuts.
        onpointerdown: (event) => (event.button === 1 ? this.host.pan(event) : event.stopPropagation()),
        ondblclick: (event) => event.stopPropagation(),
        ...inputOf(this),
      },
      this.header.element,
      this.list,
      this.empty,
      this.json.element,
      this.drop,
    );
    this.rowActions = rowActionsOf(this);
  }

  itemOf(key) {
    return this.#item(this.rows.find((row) => row.key === key));
  }

  #item(row) {
    return row ? this.knowledge.itemOf(edits.modelOf(row), this.host.checkpoint()) : null;
  }

  #take(text) {
    this.text = text;
    const reading = readArray(text);
    this.reading = { ...reading, rows: keepKeys(this.reading.rows, reading.rows) };
  }

  /** The height that the editor needs, in page pixels at 100 %. */
  wantedHeight() {
    if (this.isJson || !this.shown.ok) return 250;
    const { compact } = this.host.settings();
    const [one, withClip] = compact ? [29, 29] : [52, 66];
    const lines = this.rows.reduce((sum, row) => sum + (edits.clipWeightOf(row) === null ? one : withClip), 0);
    return 46 + Math.min(Math.max(lines, 64), 52 * 8);
  }

  render() {
    const outside = this.host.outside();
    if (outside !== null && outside !== this.text) {
      this.#take(outside);
      this.host.resized();
    }
    if (this.readOnly && this.ranText === null) this.#takeRan(this.host.ran());
    const shown = this.shown;
    const readOnly = this.readOnly;
    const isJson = this.isJson || !shown.ok;
    this.header.update({
      rows: shown.rows,
      readOnly,
      isJson,
      isForced: !shown.ok,
      wiredNote: readOnly && shown.rows.length ? t("wired") : "",
    });
    this.list.hidden = isJson || shown.rows.length === 0;
    this.empty.hidden = isJson || shown.rows.length > 0;
    this.json.element.hidden = !isJson;
    if (isJson) this.json.update(readOnly ? (this.ranText ?? "[]") : this.text, shown, readOnly);
    this.#renderRows(shown.rows, readOnly);
    this.#setLeastHeight();
    this.emptyTitle.hidden = readOnly;
    this.empty.classList.toggle("air-lora-readonly", readOnly);
    setText(this.empty.lastChild, t(readOnly ? "wiredEmpty" : "emptyHint"));
  }

  #setLeastHeight() {
    this.element.style.minHeight = this.host.isMeasured() ? `${this.wantedHeight()}px` : "";
  }

  #renderRows(rows, readOnly) {
    const checkpoint = this.host.checkpoint();
    const against = this.knowledge.checkpointOf(checkpoint);
    const { least, most, compact } = this.host.settings();
    // Not a class, because the page's own code rewrites the element's classes.
    if (this.element.hasAttribute("data-compact") !== compact) {
      this.element.toggleAttribute("data-compact", compact);
      this.host.resized();
    }
    const models = rows.map(edits.modelOf);
    this.knowledge.want(
      models.filter((model) => isWhole(model)),
      checkpoint,
    );
    const counts = new Map();
    for (const row of rows.filter(edits.isOn))
      counts.set(edits.modelOf(row), (counts.get(edits.modelOf(row)) ?? 0) + 1);
    const kept = new Set(rows.map((row) => row.key));
    for (const [key, view] of this.views) {
      if (kept.has(key)) continue;
      view.element.remove();
      this.views.delete(key);
    }
    rows.forEach((row, index) => {
      let view = this.views.get(row.key);
      if (!view) {
        view = new RowView(row.key, this.rowActions);
        this.views.set(row.key, view);
      }
      if (this.list.children[index] !== view.element)
        this.list.insertBefore(view.element, this.list.children[index] ?? null);
      const item = this.knowledge.itemOf(models[index], checkpoint);
      view.update({
        row,
        index,
        item,
        readOnly,
        progress: this.progress.get(models[index]),
        failure: this.failures.get(models[index]) ?? "",
        notLoaded: this.notLoaded.get(models[index]) ?? "",
        hasCheckpoint: checkpoint !== null,
        checkpoint: against,
        least,
        most,
        isRepeated: models[index] !== "" && counts.get(models[index]) > 1 && edits.isOn(row),
        address: this.server.thumbnail(item, 96),
        suggested: this.knowledge.suggestedOf(models[index], checkpoint),
        newer: this.knowledge.newerOf(models[index]),
      });
    });
  }
}

/** Half-typed identifiers are not looked up. */
const isWhole = (model) => model.length > 2 && model.length < 4096;
