/** One row: builds its elements once, then `update` only sets what changed. */

import { plain, shortModel, sizeText, told } from "../rows/format.js";
import { clipWeightOf, faultOf, isEntry, isOn, modelOf, unknownKeysOf, weightOf, wordsOf } from "../rows/state.js";
import { t } from "../strings.js";
import { el, icon, iconButton, setAttribute, setText, testId } from "./dom.js";
import { RowMarks } from "./row_marks.js";
import { weightField } from "./weight.js";

const MOST_CHIPS = 12;

export class RowView {
  /** @type {HTMLButtonElement} */
  handle;
  /** @type {HTMLButtonElement} */
  toggle;
  /** @type {HTMLImageElement} */
  picture;
  /** @type {HTMLButtonElement} */
  thumb;
  /** @type {HTMLButtonElement} */
  name;
  /** @type {HTMLElement} */
  version;
  /** @type {HTMLElement} */
  badge;
  /** @type {HTMLButtonElement} */
  state;
  /** @type {RowMarks} */
  marks;
  /** @type {HTMLElement} */
  words;
  /** @type {HTMLElement} */
  bar;
  /** @type {HTMLElement} */
  barDone;
  /** @type {HTMLElement} */
  clipLine;
  /** @type {HTMLElement} */
  weights;
  /** @type {HTMLButtonElement} */
  menu;
  /** @type {HTMLElement} */
  element;
  /** @type {ReturnType<typeof weightField>} */
  weight;
  /** @type {ReturnType<typeof weightField>} */
  clip;

  /** @param actions the actions that the row requests from its editor; each takes the row's key first */
  constructor(key, actions) {
    this.key = key;
    this.actions = actions;
    this.wordsShown = "";
    /** @type {any} */
    this.shown = null;
    this.#build();
  }

  #build() {
    const { key, actions } = this;
    this.handle = el(
      "button",
      {
        type: "button",
        class: "air-lora-handle",
        dataset: testId("row-handle"),
        onpointerdown: (event) => actions.startDrag(key, event),
        onkeydown: (event) => {
          if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
          event.preventDefault();
          actions.move(key, event.key === "ArrowUp" ? -1 : 1);
        },
      },
      icon("grip"),
    );
    this.toggle = el("button", {
      type: "button",
      role: "switch",
      class: "air-lora-switch",
      dataset: testId("row-toggle"),
      onclick: () => actions.toggle(key),
    });
    this.picture = el("img", {
      alt: "",
      draggable: "false",
      class: "air-lora-thumb-picture",
      onerror: () => this.picture.remove(),
    });
    this.thumb = el(
      "button",
      { type: "button", class: "air-lora-thumb", dataset: testId("row-thumbnail"), onclick: () => this.#onPicture() },
      icon("picture"),
    );
    this.name = el("button", {
      type: "button",
      class: "air-lora-name",
      dir: "auto",
      dataset: testId("row-name"),
      onclick: () => actions.replace(key),
    });
    this.version = el("span", { class: "air-lora-version", dir: "auto", dataset: testId("row-version") });
    this.badge = el("span", { class: "air-lora-badge", dataset: testId("row-badge") });
    this.state = el("button", {
      type: "button",
      class: "air-lora-state",
      dataset: testId("row-state"),
      onclick: () => this.remedy?.(),
    });
    this.marks = new RowMarks({
      steps: () => actions.steps(key),
      blocks: () => actions.blocks(key),
      suggested: () => this.shown && !this.shown.readOnly && actions.useSuggested(key),
      newer: () => actions.changeVersion(key),
    });
    this.words = el("span", { class: "air-lora-words", dataset: testId("row-words") });
    this.barDone = el("span", { class: "air-lora-bar-done" });
    this.bar = el(
      "span",
      {
        class: "air-lora-bar",
        role: "progressbar",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        hidden: true,
        dataset: testId("row-progress"),
      },
      this.barDone,
    );
    const weights = { settings: actions.settings, onsettled: actions.settled, onrefused: actions.refused };
    this.weight = weightField({ ...weights, id: "row-weight", onchange: (value) => actions.setWeight(key, value) });
    this.clip = weightField({
      ...weights,
      id: "row-clip-weight",
      onchange: (value) => actions.setClipWeight(key, value),
    });
    this.clipLine = el(
      "div",
      { class: "air-lora-clip", hidden: true },
      el("span", { class: "air-lora-clip-label" }, t("clip")),
      this.clip.element,
    );
    this.weights = el("div", { class: "air-lora-weights" }, this.weight.element, this.clipLine);
    this.menu = iconButton("more", "", "row-menu", () => actions.menu(key, this.menu), {
      "aria-haspopup": "menu",
      "aria-expanded": "false",
    });
    this.element = el(
      "div",
      {
        role: "listitem",
        class: "air-lora-row",
        dataset: testId("row"),
        oncontextmenu: (event) => {
          if (event.target.closest("input")) return;
          event.preventDefault();
          event.stopPropagation();
          actions.menu(key, this.menu, { x: event.clientX, y: event.clientY });
        },
      },
      this.handle,
      this.toggle,
      this.thumb,
      el(
        "div",
        { class: "air-lora-middle" },
        el("div", { class: "air-lora-title" }, this.name, this.version),
        el(
          "div",
          { class: "air-lora-facts" },
          this.badge,
          this.state,
          this.marks.newer,
          this.marks.suggested,
          this.marks.steps,
          this.marks.blocks,
          this.words,
        ),
      ),
      this.weights,
      this.menu,
      this.bar,
    );
  }

  /**
   * @param {{row: any, index: number, item: any, progress: any, readOnly: boolean, hasCheckpoint: boolean, checkpoint: any,
   *   isRepeated: boolean, failure: string, notLoaded: string, address: string | null, least: number, most: number,
   *   suggested: any, newer: any}} shown
   *   its values are never changed in place, so the page is only updated if one of them is another object than before
   */
  update(shown) {
    if (this.shown && Object.keys(shown).every((name) => shown[name] === this.shown[name])) return;
    this.shown = shown;
    const { row, index, item, readOnly, least, most } = shown;
    const name = nameOf(row, item);
    this.element.dataset.index = String(index);
    this.element.classList.toggle("air-lora-off", isEntry(row) && !isOn(row));
    this.element.classList.toggle("air-lora-readonly", readOnly);
    setText(this.name, name);
    this.name.disabled = readOnly || !isEntry(row);
    const about = plain([item?.title, modelOf(row)].filter(Boolean).join("\n"), 300);
    setAttribute(this.name, "title", this.name.disabled ? about : `${about}\n${t("replaceHint")}`);
    setText(this.version, plain(item?.version ?? "", 60));
    setAttribute(this.toggle, "aria-checked", String(isOn(row)));
    setAttribute(this.toggle, "aria-label", t("switchRow", { name }));
    this.toggle.disabled = readOnly || !isEntry(row);
    this.weights.hidden = !isEntry(row);
    this.remedy = this.#remedyFor(item, readOnly);
    this.state.classList.toggle("air-lora-choosable", this.remedy !== null);
    this.state.disabled = this.remedy === null;
    setAttribute(this.handle, "aria-label", t("moveRow", { name }));
    setAttribute(this.handle, "title", t("moveRow", { name }));
    this.handle.disabled = readOnly;
    setAttribute(this.menu, "aria-label", t("rowMenu", { name }));
    setAttribute(this.menu, "title", t("rowMenu", { name }));
    this.weight.update(weightOf(row), t("weight", { name }), { readOnly, least, most });
    const clip = clipWeightOf(row);
    this.clipLine.hidden = clip === null;
    if (clip !== null) this.clip.update(clip, t("clipWeight", { name }), { readOnly, least, most });
    this.#showThumb(shown.address, name, item);
    this.#showBadge(shown);
    this.#showState(shown);
    this.marks.update(row, shown);
    this.#showWords(wordsOf(row, item), name);
  }

  /** The action for a press on the state, if there is one that helps. */
  #remedyFor(item, readOnly) {
    if (!readOnly && item?.error?.code === "versionMissing") return () => this.actions.changeVersion(this.key);
    if (item?.state !== "needs_token") return null;
    const account = /^(huggingface|hf):/i.test(item.model ?? "") ? "HuggingFace" : "Civitai";
    return () => this.actions.openSetting(`AirLora.Accounts.${account}`);
  }

  /** The first press reveals a blurred picture; the second enlarges it. */
  #onPicture() {
    if (!this.thumb.classList.contains("air-lora-blurred")) return this.actions.enlarge(this.key);
    this.actions.revealed.add(this.thumbAddress);
    this.thumb.classList.remove("air-lora-blurred");
    setAttribute(this.thumb, "aria-label", t("enlarge", { name: this.name.textContent }));
    setAttribute(this.thumb, "title", null);
    return undefined;
  }

  #showThumb(address, name, item) {
    const isBlurred = Boolean(item?.thumbnail_hidden) && !this.actions.revealed.has(address);
    const isFilm = !address && Boolean(item?.only_films);
    this.thumb.classList.toggle("air-lora-blurred", isBlurred);
    setAttribute(this.thumb, "aria-label", t(isBlurred ? "reveal" : "enlarge", { name }));
    setAttribute(this.thumb, "title", isBlurred ? t("blurredHint") : isFilm ? t("onlyFilms") : null);
    if (this.thumb.dataset.kind !== String(isFilm)) {
      this.thumb.dataset.kind = String(isFilm);
      this.thumb.querySelector("svg")?.replaceWith(icon(isFilm ? "film" : "picture"));
    }
    this.thumb.disabled = !address;
    if (address && this.thumbAddress !== address) {
      this.picture.src = address;
      this.thumb.append(this.picture);
    } else if (!address) this.picture.remove();
    this.thumbAddress = address;
  }

  #showBadge({ row, item, hasCheckpoint, checkpoint, notLoaded }) {
    const families = (item?.family_names ?? []).map((name) => plain(name, 30)).join(", ");
    const before = faultOf(row) ? "unknown" : (item?.fits ?? "unknown");
    const fits = notLoaded && before !== "no" ? "partly" : before;
    const against = (checkpoint?.family_names ?? []).map((name) => plain(name, 30)).join(", ");
    let hint = t("fitsUnknown");
    if (fits === "yes") hint = t("fits", { families: against || families });
    else if (fits === "partly") hint = t("fitsPartly", { what: plain(notLoaded, 400) });
    else if (fits === "no") hint = t("fitsNot", { reason: plain(item.reason ?? "", 300) });
    else if (!hasCheckpoint && families) hint = t("fitsNoCheckpoint", { families });
    setText(this.badge, families || "?");
    this.badge.dataset.fits = fits;
    setAttribute(this.badge, "title", hint);
    setAttribute(this.badge, "aria-label", families ? `${families}: ${hint}` : hint);
    setAttribute(this.badge, "role", "img");
  }

  #showState({ row, item, progress, isRepeated, failure }) {
    const { text, kind, hint } = stateOf(row, item, progress, isRepeated, failure);
    this.element.classList.toggle("air-lora-failed", failure !== "");
    setText(this.state, text);
    this.state.dataset.state = kind;
    this.element.dataset.tone = kind;
    setAttribute(this.state, "title", hint || text);
    const isRunning = Boolean(progress && !progress.state && !failure);
    this.bar.hidden = !isRunning;
    if (!isRunning) return;
    const percent = progress.total ? Math.floor((progress.done / progress.total) * 100) : null;
    setAttribute(this.bar, "aria-valuenow", percent);
    setAttribute(this.bar, "aria-label", text);
    this.barDone.style.width = `${percent ?? 100}%`;
    this.bar.classList.toggle("air-lora-bar-unknown", percent === null);
  }

  /** @param {string[]} counted the words that count */
  #showWords(counted, name) {
    const words = counted.map((word) => plain(word, 400)).filter(Boolean);
    const joined = words.join("\n");
    if (joined === this.wordsShown) return;
    this.wordsShown = joined;
    setAttribute(this.words, "aria-label", t("words", { name }));
    setAttribute(this.words, "role", "group");
    const chip = (used, id, label, ...content) =>
      el(
        "button",
        {
          type: "button",
          class: "air-lora-word",
          dir: "auto",
          title: t("copyWord", { word: used.join(", ") }),
          "aria-label": label,
          dataset: testId(id),
          onclick: (event) => this.actions.useWords(used, event.shiftKey),
        },
        ...content,
      );
    // The row may not have room for all words, so the first chip copies all of them.
    this.words.replaceChildren(
      ...(words.length > 1 ? [chip(words, "words-all", t("copyWords"), icon("copy"), String(words.length))] : []),
      ...words.slice(0, MOST_CHIPS).map((word) => chip([word], "word", null, word)),
    );
  }
}

export function nameOf(row, item) {
  const fault = faultOf(row);
  if (fault === "stateUnreadable" || fault === "noModel") return plain(JSON.stringify(row.entry), 60);
  return plain(item?.title ?? "", 100) || shortModel(modelOf(row));
}

function stateOf(row, item, progress, isRepeated, failure) {
  const fault = faultOf(row);
  if (fault === "unknownKey")
    return {
      text: t("unknownKey"),
      kind: "fault",
      hint: unknownKeysOf(row)
        .map((key) => plain(key, 40))
        .join(", "),
    };
  if (fault) return { text: t(fault), kind: "fault" };
  if (failure && item?.state === "needs_token") return { text: t("stateNeedsToken"), kind: "fault", hint: failure };
  if (failure)
    return { text: t(item?.fits === "no" ? "stateIncompatible" : "stateNotUsed"), kind: "fault", hint: failure };
  if (progress?.state === "failed") return { text: t("stateFailed"), kind: "fault", hint: told(progress.error) };
  if (progress && !progress.state) {
    if (progress.phase === "wait") return { text: t("phaseWait"), kind: "running" };
    if (progress.phase === "verify" || progress.phase === "store") return { text: t("phaseVerify"), kind: "running" };
    if (progress.total && Number.isFinite(progress.seconds_left)) {
      return {
        text: t("downloading", {
          percent: Math.floor((progress.done / progress.total) * 100),
          left: Math.ceil(progress.seconds_left),
        }),
        kind: "running",
      };
    }
    return { text: t("downloadingPlain", { done: sizeText(progress.done ?? 0) }), kind: "running" };
  }
  if (isRepeated) return { text: t("stateRepeated"), kind: "hint" };
  if (!item || item.isLooking || item.pending) return { text: t("statePending"), kind: "unknown" };
  const hint = told(item.error);
  const isWrong = item.fits === "no" && isOn(row);
  switch (item.state) {
    case "on_disk":
    case "available":
      if (isWrong) return { text: t("stateIncompatible"), kind: "fault", hint: plain(item.reason ?? "", 300) };
      if (item.state === "on_disk")
        return { text: t("stateOnDisk"), kind: "good", hint: plain(item.local_name ?? "", 300) };
      return {
        text: item.size ? t("stateAvailable", { size: sizeText(item.size) }) : t("stateAvailableUnknown"),
        kind: "available",
        hint,
      };
    case "needs_token":
      return { text: t("stateNeedsToken"), kind: "warn", hint };
    case "hosted_only":
      return { text: t("stateHostedOnly"), kind: "warn", hint };
    case "not_found":
      return item.error?.code === "versionMissing"
        ? { text: t("stateVersionMissing"), kind: "warn", hint }
        : { text: t("stateNotFound"), kind: "fault", hint };
    case "offline":
      return { text: t("stateOffline"), kind: "warn", hint };
    default:
      return item.isUnanswered
        ? { text: t("stateError"), kind: "unknown", hint }
        : { text: shortReason(item) || t("stateError"), kind: "fault", hint };
  }
}

const LONGEST_STATE = 40;

/** The server's error message if it is short, without the identifier before it, which the row already shows. */
function shortReason(item) {
  const reason = plain(String(item.error?.message ?? "").replace(/^"[^"]*": /, ""), 100);
  return reason.length <= LONGEST_STATE ? reason : "";
}
