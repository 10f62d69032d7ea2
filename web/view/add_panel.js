/** The panel that adds: type to search this disk and CivitAI, or paste anything that names LoRAs. */

import { plain, sizeText } from "../rows/format.js";
import { looksPasted } from "../rows/pasted.js";
import { t } from "../strings.js";
import { el, icon, setText, testId } from "./dom.js";
import { openDialog } from "./dialogs.js";

const PAUSE_MS = 300;

/**
 * @param {{server: any, checkpoint: any, checkpointNames: string, addText: (text: string) => Promise<string | null>, addItem: (item: any) => void}} host
 *   addText gives the reason where nothing was added
 */
export function openAddPanel(host) {
  const found = el("div", { class: "air-lora-found" });
  const note = el("div", { class: "air-lora-add-note", role: "status", "aria-live": "polite", dataset: testId("add-note") });
  const input = el("textarea", {
    class: "air-lora-text air-lora-search", rows: "1", spellcheck: "false", "aria-label": t("searchLabel"), placeholder: t("searchPlaceholder"), dataset: testId("add-input"),
  });
  let timer = 0;
  let current = null;
  let added = 0;

  const addPasted = async () => {
    const reason = await host.addText(input.value);
    if (reason === null) dialog.close();
    else setText(note, reason);
  };
  const say = () => setText(note, added ? t("added", { count: added }) : host.checkpointNames ? t("filtered", { families: host.checkpointNames }) : "");

  const look = () => {
    current?.abort();
    current = new AbortController();
    found.replaceChildren(
      section(t("onThisDisk"), "local", host, input.value.trim(), current.signal, chosen),
      section(t("onCivitai"), "civitai", host, input.value.trim(), current.signal, chosen));
  };
  const chosen = (item, button) => {
    host.addItem(item);
    added += 1;
    button.classList.add("air-lora-chosen");
    say();
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    say();
    if (looksPasted(input.value)) {
      current?.abort();
      found.replaceChildren(el("button", { type: "button", class: "air-lora-primary", dataset: testId("add-pasted"), onclick: addPasted }, t("add")));
    } else timer = setTimeout(look, PAUSE_MS);
  });
  input.addEventListener("paste", () => setTimeout(() => looksPasted(input.value) && addPasted()));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (looksPasted(input.value)) addPasted();
      else look();
    } else if (event.key === "ArrowDown" && !input.value.includes("\n")) {
      event.preventDefault();
      found.querySelector("button")?.focus();
    }
  });
  found.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    const buttons = [...found.querySelectorAll("button")];
    const goal = buttons.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    (goal < 0 ? input : buttons[goal])?.focus();
  });
  const dialog = openDialog(t("searchTitle"), "add", () => el("div", { class: "air-lora-add" }, el("div", { class: "air-lora-search-box" }, icon("search"), input), note, found), "air-lora-dialog-tall");
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    current?.abort();
  });
  input.focus();
  say();
  look();
  return dialog;
}

function section(title, source, host, query, signal, chosen) {
  const list = el("div", { class: "air-lora-cards", role: "list", "aria-label": title });
  const state = el("div", { class: "air-lora-cards-state" }, t("searching"));
  const whole = el("section", { class: "air-lora-section", dataset: testId(`found-${source}`) }, el("h3", { class: "air-lora-section-title" }, title), list, state);
  const load = async (cursor) => {
    const body = { query, source, ...(host.checkpoint ? { checkpoint: host.checkpoint } : {}), ...(cursor ? { cursor } : {}) };
    const answer = await host.server.post("/air_lora/search", body, signal);
    if (signal.aborted) return;
    state.replaceChildren();
    if (!answer.ok) {
      state.append(t("searchFailed", { reason: plain(answer.error.message, 300) }));
      return;
    }
    const items = answer.data.items ?? [];
    list.append(...items.map((item) => card(item, host, chosen)));
    if (!list.children.length) state.append(t("nothingFound"));
    if (answer.data.next) {
      state.append(el("button", {
        type: "button", class: "air-lora-plain",
        onclick: () => {
          state.replaceChildren(t("searching"));
          load(answer.data.next);
        },
      }, t("more")));
    }
  };
  load(null);
  return whole;
}

function card(item, host, chosen) {
  const address = host.server.thumbnail(item, 96);
  const picture = el("span", { class: "air-lora-card-picture" }, icon("picture"));
  if (address) {
    const image = el("img", { src: address, alt: "", loading: "lazy", onerror: () => image.remove() });
    picture.append(image);
  }
  const families = (item.family_names ?? []).map((name) => plain(name, 30)).join(", ") || plain(item.base_model ?? "", 30);
  const facts = [plain(item.version ?? "", 60), families, item.state === "on_disk" ? t("stateOnDisk") : item.size ? sizeText(item.size) : ""];
  const button = el("button", { type: "button", class: "air-lora-card", title: plain(item.model, 200), dataset: testId("found"), onclick: () => chosen(item, button) },
    picture,
    el("span", { class: "air-lora-card-text" },
      el("span", { class: "air-lora-card-name", dir: "auto" }, plain(item.title || item.file_name || item.model, 100)),
      el("span", { class: "air-lora-card-facts", dir: "auto" }, facts.filter(Boolean).join(" · "))),
    icon("plus"));
  return el("div", { role: "listitem" }, button);
}
