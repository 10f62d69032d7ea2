/** Dialogs in the page's top layer: a picture, a name for a preset, a choice of versions. */

import { t } from "../strings.js";
import { el, iconButton, testId } from "./dom.js";

/** A modal dialog. Escape and a click outside it close it. `content` gets the function that closes it. */
export function openDialog(title, id, content, className = "") {
  const close = () => dialog.close();
  const heading = el("h2", { class: "air-lora-dialog-title", id: `air-lora-dialog-${id}` }, title);
  const dialog = el(
    "dialog",
    {
      class: `air-lora-dialog ${className}`,
      "aria-labelledby": heading.id,
      dataset: testId(`dialog-${id}`),
      // ComfyUI's own shortcuts (Delete removes nodes) must not act in a dialog.
      onkeydown: (event) => event.stopPropagation(),
      onpaste: (event) => event.stopPropagation(),
      onclose: () => dialog.remove(),
      onpointerdown: (event) => {
        if (event.target === dialog) close();
      },
    },
    el("header", { class: "air-lora-dialog-head" }, heading, iconButton("close", t("close"), "dialog-close", close)),
  );
  dialog.append(content(close));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function showPicture(title, address) {
  openDialog(
    title,
    "picture",
    () => el("img", { class: "air-lora-picture", src: address, alt: title }),
    "air-lora-dialog-picture",
  );
}

/** Asks for one line of text. */
export function askName(title, id, action) {
  const input = el("input", {
    type: "text",
    class: "air-lora-text",
    maxlength: "100",
    "aria-label": t("presetName"),
    placeholder: t("presetName"),
    dataset: testId("dialog-input"),
  });
  openDialog(title, id, (close) => {
    const form = el(
      "form",
      { class: "air-lora-form" },
      input,
      el(
        "div",
        { class: "air-lora-form-buttons" },
        el("button", { type: "button", class: "air-lora-plain", onclick: close }, t("cancel")),
        el("button", { type: "submit", class: "air-lora-primary", dataset: testId("dialog-save") }, t("save")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (!name) return;
      close();
      action(name);
    });
    return form;
  });
  input.focus();
}

/**
 * A list of which the user chooses one.
 * @param {Array<{label: string, detail: string, about?: string, action: () => void}>} choices
 */
export function choose(title, id, choices) {
  openDialog(title, id, (close) =>
    el(
      "div",
      { class: "air-lora-choices", role: "list" },
      ...choices.map((choice) =>
        el(
          "div",
          { role: "listitem" },
          el(
            "button",
            {
              type: "button",
              class: "air-lora-choice",
              dataset: testId("choice"),
              onclick: () => {
                close();
                choice.action();
              },
            },
            el("span", { class: "air-lora-choice-label" }, choice.label),
            el("span", { class: "air-lora-choice-detail" }, choice.detail),
          ),
          choice.about ? el("p", { class: "air-lora-choice-about", dir: "auto" }, choice.about) : null,
        ),
      ),
    ),
  );
}
