/**
 * The row editor over one text. The text is the truth: `setText` shows what somebody else wrote, every edit here writes
 * the text through `host.commit`. Knows nothing of ComfyUI but what `host` offers.
 */

import { keepKeys, readArray, writeArray } from "../rows/array_text.js";
import * as edits from "../rows/state.js";
import { plain, told } from "../rows/format.js";
import { t } from "../strings.js";
import { openAddPanel } from "./add_panel.js";
import { addFiles, addText, replaceBy } from "./adding.js";
import { showPicture } from "./dialogs.js";
import { el, setText, testId } from "./dom.js";
import { inputOf } from "./editor_input.js";
import { Header } from "./header.js";
import { JsonView } from "./json_view.js";
import { openPresets } from "./presets.js";
import { dragRow } from "./row_drag.js";
import { changeVersion, openRowMenu } from "./row_menu.js";
import { nameOf, RowView } from "./row.js";
import { openBlocks, openSteps, openWords } from "./row_details.js";

/**
 * @typedef {object} Host
 * @property {(text: string) => void} commit writes the widget's text
 * @property {() => void} settled an edit is done: a step of undo ends here
 * @property {() => {folder: string, name: string} | null} checkpoint what is behind MODEL
 * @property {() => string | null} outside the text where it lies elsewhere: on the subgraph node that shows it as its own
 * @property {() => string | null} ran the text of the last run, where it is known
 * @property {() => boolean} isWired whether the text comes over a wire
 * @property {() => {step: number, least: number, most: number, newWeight: number}} settings
 * @property {(words: string[]) => string[] | null} appendToPrompt gives those that were not there yet; null: no prompt
 * @property {(id: string) => void} openSetting shows one of our settings
 * @property {() => void} interrupt cancels the run that is under way
 * @property {(event: PointerEvent) => void} pan moves the canvas with the middle button
 * @property {(severity: string, summary: string, detail?: string) => void} toast
 * @property {(event: WheelEvent) => void} wheel zooms the canvas
 * @property {() => boolean} isMeasured whether the page asks the element for its height
 * @property {() => void} resized the rows became more or fewer
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
    this.#build();
    this.sizes = new ResizeObserver(() => this.#setLeastHeight()); // app mode takes the element elsewhere
    this.watch();
  }

  /** Shows what becomes known of the models, from now on until `dispose`. */
  watch() {
    this.forgetKnowledge ??= this.knowledge.onChange(() => this.render());
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

  /** What is shown: over a wire, what ran last. */
  get shown() {
    return this.host.isWired() ? (this.ranReading ?? readArray("[]")) : this.reading;
  }

  get readOnly() {
    return this.host.isWired();
  }

  /** Somebody else wrote the text: a workflow was loaded, undone, a host of a subgraph was edited. */
  setText(text) {
    const made = typeof text === "string" ? text : text === null || text === undefined ? "" : JSON.stringify(text);
    if (made === this.text) return;
    this.#take(made);
    this.render();
    this.host.resized();
  }

  /** What the node says after it ran. */
  setRan(text, report) {
    this.#takeRan(text);
    this.#takeReport(report);
    this.render();
    this.host.resized();
  }

  /** What of each LoRA the last run could not load, by model: empty for those that were loaded whole. */
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

  /** What downloaded is no more: its run has ended somehow, or (`isAll`) the server can't be heard. */
  endProgress(isAll) {
    for (const [model, event] of this.progress) {
      if (!event.state && (isAll || !event.job)) this.progress.delete(model);
    }
    this.render();
  }

  /**
   * Marks the rows that the last run could not use; an empty list unmarks all.
   * @param {Array<{index: number | null, text: string}>} failures
   * @returns {Array<string | null>} the name of each one's row, null where this node shows none
   */
  setFailures(failures) {
    // Over a wire the rows are those of the last good run, and a number says nothing of them.
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
    if (rows.length !== before) this.host.resized();
    if (isSettled) this.host.settled();
  }

  addEntries(entries) {
    this.edit((rows) => edits.append(rows, entries));
    // Not scrollIntoView: that moves the whole page where the node reaches out of it.
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** Adds whatever this text names. @returns {Promise<string | null>} why nothing was added */
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
      addItem: (item) => this.addEntries([{ model: item.model, weight: this.host.settings().newWeight }]),
    });
  }

  /** Another LoRA in this row: weight, switch and place stay. */
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

  /** What the panel that searches needs. */
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

  /** Whether a row is this LoRA, by name or by content. */
  #has(item) {
    return this.rows.some((row) => {
      const known = this.#item(row);
      return (
        [edits.modelOf(row), known?.model].includes(item.model) || Boolean(item.sha256 && known?.sha256 === item.sha256)
      );
    });
  }

  /** Copies words, or appends them to the prompt behind this node. */
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
      presets: (button) => openPresets(this, button),
      toggleJson: () => {
        this.isJson = !this.isJson;
        this.render();
        if (this.isJson) this.json.area.focus();
        this.host.resized();
      },
      add: () => this.openAdd(),
      // The server reads its folders while the hand is still on its way.
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
        // A click between the rows gives them the focus, and so what is pasted next.
        class: "air-lora",
        tabindex: "-1",
        dataset: testId("widget"),
        // A press on the rows is not a press on the node (which would drag it), and keys are not ComfyUI's shortcuts.
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
    this.rowActions = {
      /** Addresses of blurred pictures that somebody wanted to see: a duplicate of their row shows them too. */
      revealed: new Set(),
      settings: () => this.host.settings(),
      settled: () => this.host.settled(),
      setWeight: (key, weight) => this.edit((rows) => edits.setWeight(rows, key, weight), { isSettled: false }),
      setClipWeight: (key, weight) => this.edit((rows) => edits.setClipWeight(rows, key, weight), { isSettled: false }),
      toggle: (key) => this.edit((rows) => edits.setOn(rows, key, !edits.isOn(rows.find((row) => row.key === key)))),
      move: (key, by) => this.move(key, by),
      startDrag: (key, event) => dragRow(this, key, event),
      menu: (key, button, at) => openRowMenu(this, key, button, at),
      changeVersion: (key) => changeVersion(this, key),
      replace: (key) => this.openReplace(key),
      steps: (key) => openSteps(this, key),
      blocks: (key) => openBlocks(this, key),
      words: (key) => openWords(this, key),
      openSetting: (id) => this.host.openSetting(id),
      refused: (why) => this.host.toast("warn", why),
      useWords: (words, isAppended) => this.useWords(words, isAppended),
      enlarge: (key) => {
        const row = this.rows.find((each) => each.key === key);
        const item = this.#item(row);
        const address = this.server.thumbnail(item, 512);
        if (address) showPicture(nameOf(row, item), address);
      },
    };
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

  /** How high the editor wants to be, in pixels of the page at 100 %. */
  wantedHeight() {
    if (this.isJson || !this.shown.ok) return 250;
    const lines = this.rows.reduce((sum, row) => sum + (edits.clipWeightOf(row) === null ? 52 : 66), 0);
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
    const { least, most } = this.host.settings();
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
      });
    });
  }
}

/** Half-typed identifiers are not looked up. */
const isWhole = (model) => model.length > 2 && model.length < 4096;
