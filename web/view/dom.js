/** Creates elements without innerHTML, so that untrusted text stays text. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} attributes `class`, `on…` handlers, `dataset`; everything else is an attribute;
 *   null omits one
 * @param {...(Node | string | null | undefined)} children strings become text
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "dataset") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) made.append(child);
  return made;
}

/** The name of a part, for styles, for tests, and for moving from row to row with the arrow keys. */
export const testId = (name) => ({ airLora: name });

/** Sets the text only if it changed, because screen readers announce changes. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  plus: "M8 3v10M3 8h10",
  more: "M8 3.2v.1M8 8v.1M8 12.8v.1",
  grip: "M6 3.5v.1M10 3.5v.1M6 8v.1M10 8v.1M6 12.5v.1M10 12.5v.1",
  bookmark: "M4 2.5h8v11l-4-3-4 3z",
  code: "M5.5 4.5 2 8l3.5 3.5M10.5 4.5 14 8l-3.5 3.5",
  rows: "M2.5 4h11M2.5 8h11M2.5 12h11",
  copy: "M6 6h7v7H6zM3 10V3h7",
  close: "M4 4l8 8M12 4l-8 8",
  picture: "M2.5 3.5h11v9h-11zM2.5 11l3.5-3.5 3 3 2-2 2.5 2.5M10.5 6v.1",
  film: "M2.5 3.5h11v9h-11zM6.5 6v4l3.5-2z",
  search: "M7 11.5a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9zM10.5 10.5 14 14",
  wire: "M2 8h4M10 8h4M8 8m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
};

/** One of this pack's own icons. It is hidden from screen readers, because the button around it has a name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: "air-lora-icon", "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

export function iconButton(name, label, id, onclick, more = {}) {
  return el(
    "button",
    {
      type: "button",
      class: "air-lora-button",
      "aria-label": label,
      title: label,
      dataset: testId(id),
      onclick,
      ...more,
    },
    icon(name),
  );
}
