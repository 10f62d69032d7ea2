/** The panel that adds LoRAs: type to search this disk and CivitAI, or paste anything that identifies LoRAs. */

import { plain, sizeText } from "../rows/format.js";
import { looksPasted } from "../rows/pasted.js";
import { t } from "../strings.js";
import { el, icon, setAttribute, setText, testId } from "./dom.js";
import { openDialog } from "./dialogs.js";

/** Wait after the last key: this disk is searched almost at once, CivitAI only after the user has stopped typing. */
const PAUSE_MS = { local: 40, civitai: 300 };
/** The old results stay visible for up to this time, so that they don't flicker with each key. */
const KEEP_MS = 150;
/** Results from an older scan of the folders are requested again after this time. */
const AGAIN_MS = 600;

const sorts = () => [
  ["relevance", t("sortRelevance")],
  ["downloads", t("sortDownloads")],
  ["newest", t("sortNewest")],
];

/**
 * @param {{server: any, checkpoint: any, checkpointNames: string, addText: (text: string) => Promise<string | null>, addItem: (item: any) => void,
 *   has: (item: any) => boolean, title?: string}} host
 *   with a `title`, the panel is for one choice, and closes after it;
 *   `addText` returns the reason if nothing was added; `has` returns whether the array already has this LoRA
 */
export function openAddPanel(host) {
  const found = el("div", { class: "air-lora-found" });
  const note = el("div", {
    class: "air-lora-add-note",
    role: "status",
    "aria-live": "polite",
    dataset: testId("add-note"),
  });
  const input = el("textarea", {
    class: "air-lora-text air-lora-search",
    rows: "1",
    spellcheck: "false",
    "aria-label": t("searchLabel"),
    placeholder: t("searchPlaceholder"),
    dataset: testId("add-input"),
  });
  const fitting = el("input", {
    type: "checkbox",
    checked: true,
    dataset: testId("add-fitting"),
    onchange: () => look(),
  });
  const sorting = el(
    "select",
    { class: "air-lora-plain", "aria-label": t("sortLabel"), dataset: testId("add-sort"), onchange: () => look() },
    ...sorts().map(([value, text]) => el("option", { value }, text)),
  );
  const filters = el(
    "div",
    { class: "air-lora-filters" },
    host.checkpoint
      ? el(
          "label",
          { class: "air-lora-check" },
          fitting,
          el(
            "span",
            {},
            host.checkpointNames ? t("onlyFitting", { families: host.checkpointNames }) : t("onlyFittingIt"),
          ),
        )
      : null,
    el("span", { class: "air-lora-space" }),
    sorting,
  );
  let timer = 0;
  let current = null;
  let added = 0;
  let shownQuery = null;
  /** ArrowDown, and a following Enter, pressed before the text's first result was there. @type {string[]} */
  let keysAhead = [];
  let isLooking = false;

  const addPasted = async () => {
    const reason = await host.addText(input.value);
    if (reason === null) dialog.close();
    else setText(note, reason);
  };
  const say = () => setText(note, added ? t("added", { count: added }) : "");

  const look = (pause = 0) => {
    current?.abort();
    current = new AbortController();
    const asked = {
      query: input.value.trim(),
      sort: sorting.value,
      ...(host.checkpoint && fitting.checked ? { checkpoint: host.checkpoint } : {}),
    };
    const { signal } = current;
    isLooking = true;
    const shown = new Shown();
    const local = section(t("onThisDisk"), "local", host, asked, signal, chosen, shown, 0, look);
    const civitai = section(t("onCivitai"), "civitai", host, asked, signal, chosen, shown, pause);
    const isShown = Promise.race([local.loaded, wait(KEEP_MS)]).then(() => {
      if (!signal.aborted) show(asked.query, local.element, civitai.element);
    });
    const foundLocally = Promise.all([isShown, local.loaded]).then(() => {
      if (!signal.aborted) goOn(false);
    });
    Promise.all([foundLocally, civitai.loaded]).then(() => {
      if (!signal.aborted) goOn(true);
    });
  };
  /** Shows the results. If one of them has the focus, it keeps it. */
  const show = (query, ...sections) => {
    shownQuery = query;
    const focused = document.activeElement;
    const at = focused instanceof HTMLElement && found.contains(focused) ? focused.title : null;
    found.replaceChildren(...sections);
    if (at === null) return;
    const buttons = [...found.querySelectorAll("button")];
    (buttons.find((each) => each.title === at) ?? buttons[0] ?? input).focus();
  };
  const isCurrent = () => shownQuery === input.value.trim();
  /** Handles the keys that were pressed before the first result arrived. */
  const goOn = (isAll) => {
    const first = found.querySelector("button");
    if (!isLooking || (!first && !isAll)) return;
    isLooking = false;
    if (keysAhead.length && first && document.activeElement === input) {
      first.focus();
      if (keysAhead.includes("Enter")) first.click();
    }
    keysAhead = [];
  };
  const chosen = (item, button) => {
    if (host.has(item)) return;
    host.addItem(item);
    if (host.title) {
      dialog.close();
      return;
    }
    added += 1;
    markTaken(button);
    say();
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    say();
    if (looksPasted(input.value)) {
      current?.abort();
      found.replaceChildren(
        el(
          "button",
          { type: "button", class: "air-lora-primary", dataset: testId("add-pasted"), onclick: addPasted },
          t("add"),
        ),
      );
    } else timer = setTimeout(() => look(PAUSE_MS.civitai - PAUSE_MS.local), PAUSE_MS.local);
  });
  input.addEventListener("paste", () => setTimeout(() => looksPasted(input.value) && addPasted()));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (looksPasted(input.value)) addPasted();
      else if (keysAhead.length) keysAhead.push("Enter");
      else look();
    } else if (event.key === "ArrowDown" && !input.value.includes("\n")) {
      event.preventDefault();
      const first = isCurrent() || looksPasted(input.value) ? found.querySelector("button") : null;
      if (first) first.focus();
      else if (isLooking || !isCurrent()) keysAhead = ["ArrowDown"];
    } else keysAhead = [];
  });
  found.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    const buttons = [...found.querySelectorAll("button")];
    const goal =
      buttons.findIndex((button) => button === document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    (goal < 0 ? input : buttons[goal])?.focus();
  });
  const dialog = openDialog(
    host.title ?? t("searchTitle"),
    "add",
    () =>
      el(
        "div",
        { class: "air-lora-add" },
        el("div", { class: "air-lora-search-box" }, icon("search"), input),
        filters,
        note,
        found,
      ),
    "air-lora-dialog-tall",
  );
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    current?.abort();
  });
  input.focus();
  say();
  look();
  return dialog;
}

/** The results of one search. A file that is on this disk and at CivitAI is shown once, as that of this disk. */
class Shown {
  #cards = new Map();

  /** @returns {{isShown: boolean, hadFocus: boolean}} whether to show the card, and if it replaces a focused one */
  take(item, source, element) {
    const keys = [item.model, item.sha256].filter(Boolean);
    const before = keys.map((key) => this.#cards.get(key)).find(Boolean);
    if (before && (source !== "local" || before.source === "local")) return { isShown: false, hadFocus: false };
    const hadFocus = Boolean(before?.element.contains(document.activeElement));
    before?.element.remove();
    for (const key of keys) this.#cards.set(key, { source, element });
    return { isShown: true, hadFocus };
  }
}

const namesIn = (answer) => (answer.data.items ?? []).map((item) => item.model);
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** @param again called if the folders turn out to contain something else than was shown at first */
function section(title, source, host, asked, signal, chosen, shown, pause = 0, again = () => {}) {
  const list = el("div", { class: "air-lora-cards", role: "list", "aria-label": title });
  const state = el("div", { class: "air-lora-cards-state" }, t("searching"));
  const whole = el(
    "section",
    { class: "air-lora-section", dataset: testId(`found-${source}`) },
    el("h3", { class: "air-lora-section-title" }, title),
    list,
    state,
  );
  const ask = (cursor) =>
    host.server.post("/air_lora/search", { ...asked, source, ...(cursor ? { cursor } : {}) }, signal);
  const askAgain = async (before, tries = 3) => {
    await wait(AGAIN_MS);
    const answer = signal.aborted || list.children.length > before.length ? null : await ask();
    if (!answer?.ok || signal.aborted) return;
    if (String(namesIn(answer)) !== String(before)) again();
    else if (answer.data.current === false && tries > 1) askAgain(before, tries - 1);
  };
  const load = async (cursor, isByKey = false) => {
    const answer = await ask(cursor);
    if (signal.aborted) return;
    state.replaceChildren();
    if (!answer.ok) {
      state.append(t("searchFailed", { reason: plain(answer.error.message, 300) }));
      return;
    }
    const count = list.children.length;
    for (const item of answer.data.items ?? []) {
      const made = card(item, host, chosen);
      const { isShown, hadFocus } = shown.take(item, source, made);
      if (isShown) list.append(made);
      if (hadFocus) made.querySelector("button")?.focus();
    }
    if (isByKey) (list.children[count] ?? list.lastElementChild)?.querySelector("button")?.focus();
    if (!list.children.length) state.append(t("nothingFound"));
    if (answer.data.current === false && !cursor) askAgain(namesIn(answer));
    if (answer.data.next) {
      state.append(
        el(
          "button",
          {
            type: "button",
            class: "air-lora-plain",
            onclick: ({ currentTarget }) => {
              const hadFocus = currentTarget === document.activeElement;
              state.replaceChildren(t("searching"));
              load(answer.data.next, hadFocus);
            },
          },
          t("more"),
        ),
      );
    }
  };
  const begin = async () => {
    if (pause) await wait(pause);
    if (!signal.aborted) await load(null);
  };
  return { element: whole, loaded: begin() };
}

function card(item, host, chosen) {
  const address = host.server.thumbnail(item, 96);
  const picture = el(
    "span",
    {
      class: `air-lora-card-picture${item.thumbnail_hidden ? " air-lora-blurred" : ""}`,
      title: item.thumbnail_hidden ? t("blurredHint") : null,
      onclick: (event) => {
        if (!picture.classList.contains("air-lora-blurred")) return;
        event.stopPropagation();
        picture.classList.remove("air-lora-blurred");
        picture.removeAttribute("title");
      },
    },
    icon(item.only_films ? "film" : "picture"),
  );
  if (address) {
    const image = el("img", { src: address, alt: "", loading: "lazy", onerror: () => image.remove() });
    picture.append(image);
  }
  const families =
    (item.family_names ?? []).map((name) => plain(name, 30)).join(", ") || plain(item.base_model ?? "", 30);
  const folder = plain(
    String(item.local_name ?? "")
      .split(/[\\/]/)
      .slice(0, -1)
      .join("/"),
    60,
  );
  const facts = [
    plain(item.version ?? "", 60),
    families,
    item.creator ? t("by", { creator: plain(item.creator, 60) }) : "",
    item.state === "on_disk" ? t("stateOnDisk") : item.size ? sizeText(item.size) : "",
    folder && `${folder}/`,
  ];
  const button = el(
    "button",
    {
      type: "button",
      class: "air-lora-card",
      title: plain(item.model, 200),
      dataset: testId("found"),
      onclick: () => chosen(item, button),
    },
    picture,
    el(
      "span",
      { class: "air-lora-card-text" },
      el("span", { class: "air-lora-card-name", dir: "auto" }, plain(item.title || item.file_name || item.model, 100)),
      el("span", { class: "air-lora-card-facts", dir: "auto" }, facts.filter(Boolean).join(" · ")),
    ),
    el("span", { class: "air-lora-card-end" }, icon("plus")),
  );
  if (host.has(item)) markTaken(button);
  return el("div", { role: "listitem" }, button);
}

/** Marks a LoRA that the array already has. A second press doesn't add it again. */
function markTaken(button) {
  button.classList.add("air-lora-chosen");
  setAttribute(button, "aria-disabled", "true");
  button
    .querySelector(".air-lora-card-end")
    .replaceChildren(el("span", { class: "air-lora-card-taken" }, t("inTheList")));
}
