/** Fields of the settings page whose values the server stores. Each shows its current value and reports changes. */

import { plain } from "./rows/format.js";
import { t } from "./strings.js";
import { el, setText, testId } from "./view/dom.js";

const TOGETHER_MS = 300;

/** All fields of a dialog share one request. */
let asked = null;
function settingsOf(server) {
  if (!asked || Date.now() - asked.when > TOGETHER_MS)
    asked = { when: Date.now(), answer: server.get("/air_lora/settings") };
  return asked.answer;
}

/**
 * A control, with a status line below it.
 * @param {{server: any, changed: () => void}} ask
 * @param {string} id the name for tests and styles
 * @param {HTMLElement[]} controls
 * @param {(data: any) => string} show puts the server's answer into the controls, and returns the status line
 */
function field({ server, changed }, id, controls, show) {
  const note = el("span", {
    class: "air-lora-setting-note",
    role: "status",
    "aria-live": "polite",
    dataset: testId(`${id}-note`),
  });
  const element = el(
    "div",
    {
      class: "air-lora-setting",
      dataset: testId(id),
      // Keeps ComfyUI's shortcuts and its own paste from acting here.
      onkeydown: (event) => event.key !== "Escape" && event.stopPropagation(),
      onpaste: (event) => event.stopPropagation(),
    },
    el("div", { class: "air-lora-setting-controls" }, ...controls),
    note,
  );
  const say = (text, kind = "") => {
    setText(note, text);
    note.dataset.kind = kind;
  };
  const take = (answer) => {
    if (answer.ok) say(show(answer.data));
    else say(reasonOf(answer.error), "fault");
    return answer.ok;
  };
  const lock = (locked) => {
    for (const control of controls) if ("disabled" in control) control.disabled = locked;
  };
  lock(true);
  settingsOf(server).then(take);
  return {
    element,
    lock,
    async save(path, body) {
      lock(true);
      const answer = await server.post(path, body);
      asked = null;
      const now = await settingsOf(server);
      take(now);
      if (!answer.ok) say(reasonOf(answer.error), "fault");
      else if (now.ok) changed();
      return answer.ok;
    },
  };
}

const reasonOf = (error) =>
  [error?.message, error?.remedy]
    .filter(Boolean)
    .map((text) => plain(text, 300))
    .join(". ")
    .replace(/([.?!])\. /g, "$1 ");
const isHeld = (data, key) => (data.from_environment ?? []).includes(key);

/** A token can be set but is never shown: the field is empty whether one is set or not. */
export function tokenField(ask, service, key) {
  const id = `setting-${service}`;
  const input = el("input", {
    type: "password",
    class: "air-lora-text",
    autocomplete: "new-password",
    spellcheck: "false",
    maxlength: "500",
    "aria-label": t("tokenOf", { service: NAMES[service] }),
    dataset: testId(`${id}-input`),
    onkeydown: (event) => event.key === "Enter" && save(),
  });
  const button = el(
    "button",
    { type: "button", class: "air-lora-plain", dataset: testId(`${id}-save`), onclick: () => save() },
    t("save"),
  );
  const removal = el(
    "button",
    {
      type: "button",
      class: "air-lora-plain",
      dataset: testId(`${id}-remove`),
      onclick: () => made.save("/air_lora/token", { service, token: null }),
    },
    t("remove"),
  );
  const save = async () => {
    const token = input.value.trim();
    if (token && (await made.save("/air_lora/token", { service, token }))) input.value = "";
  };
  const made = field(ask, id, [input, button, removal], (data) => {
    const isSet = Boolean(data.tokens?.[service]);
    made.lock(isHeld(data, key));
    removal.hidden = !isSet || isHeld(data, key);
    input.placeholder = isSet ? "••••••••••••" : t("tokenPaste");
    return isHeld(data, key) ? t("settingHeld", { key }) : isSet ? t("tokenSet") : t("tokenNotSet");
  });
  return made.element;
}

const NAMES = { civitai: "CivitAI", huggingface: "Hugging Face", endpoint: "Endpoint" };

/** One of ComfyUI's loras folders. */
export function folderField(ask, key) {
  const select = el("select", {
    class: "air-lora-text",
    "aria-label": t("folder"),
    dataset: testId("setting-folder-input"),
    onchange: () => made.save("/air_lora/settings", { key, value: select.value }),
  });
  const made = field(ask, "setting-folder", [select], (data) => {
    const chosen = data.values?.[key] ?? "";
    const choices = (data.choices?.[key] ?? []).map((choice) => ({
      value: String(choice.value),
      label: plain(choice.label, 100),
    }));
    if (!choices.some((choice) => choice.value === chosen))
      choices.unshift({ value: chosen, label: chosen === "" ? t("folderFirst") : t("folderElsewhere") });
    select.replaceChildren(...choices.map(({ value, label }) => el("option", { value }, label)));
    select.value = chosen;
    made.lock(isHeld(data, key) || choices.length < 2);
    return isHeld(data, key) ? t("settingHeld", { key }) : "";
  });
  return made.element;
}

/** The highest of CivitAI's levels at which pictures are shown without blur. */
export function picturesField(ask, key) {
  const select = el("select", {
    class: "air-lora-text",
    "aria-label": t("pictures"),
    dataset: testId("setting-pictures-input"),
    onchange: () => made.save("/air_lora/settings", { key, value: select.value }),
  });
  const made = field(ask, "setting-pictures", [select], (data) => {
    const choices = (data.choices?.[key] ?? []).map((choice) => String(choice.value));
    select.replaceChildren(...choices.map((value) => el("option", { value }, value)));
    select.value = data.values?.[key] || choices[0];
    made.lock(isHeld(data, key));
    return isHeld(data, key) ? t("settingHeld", { key }) : "";
  });
  return made.element;
}

/** A whole number; empty means the server's default. */
export function numberField(ask, key, least, most) {
  const input = el("input", {
    type: "number",
    class: "air-lora-text",
    min: least,
    max: most,
    step: 1,
    placeholder: t("settingDefault"),
    "aria-label": t("connections"),
    dataset: testId("setting-connections-input"),
    onchange: () => made.save("/air_lora/settings", { key, value: input.value }),
  });
  const made = field(ask, "setting-connections", [input], (data) => {
    input.value = data.values?.[key] ?? "";
    made.lock(isHeld(data, key));
    return isHeld(data, key) ? t("settingHeld", { key }) : "";
  });
  return made.element;
}

/** @param {string} id the name for tests @param {string} name of its text in strings.js */
export function switchField(ask, key, id, name) {
  const button = el("button", {
    type: "button",
    role: "switch",
    class: "air-lora-switch",
    "aria-checked": "false",
    "aria-label": t(name),
    dataset: testId(`setting-${id}-input`),
    onclick: () =>
      made.save("/air_lora/settings", { key, value: button.getAttribute("aria-checked") === "true" ? "0" : "1" }),
  });
  const made = field(ask, `setting-${id}`, [button], (data) => {
    const isOn = /^(1|true|yes|on)$/i.test(data.values?.[key] ?? "");
    button.setAttribute("aria-checked", String(isOn));
    made.lock(isHeld(data, key));
    return isHeld(data, key) ? t("settingHeld", { key }) : "";
  });
  return made.element;
}

const ELSEWHERE = "elsewhere"; // what the server sends for a folder, since its path is private

/** Where files are shared with other machines. It's read-only, because a page must not choose where a server writes. */
export function storeField(ask, key) {
  const shown = el("span", { class: "air-lora-setting-value", dataset: testId("setting-store-value") });
  const made = field(ask, "setting-store", [shown], (data) => {
    const address = data.values?.[key] ?? "";
    setText(
      shown,
      address === "" ? t("storeNone", { key }) : address === ELSEWHERE ? t("storeFolder") : plain(address, 200),
    );
    return isHeld(data, key) ? t("settingHeld", { key }) : "";
  });
  return made.element;
}
