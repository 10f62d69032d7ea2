/** A menu with arrow keys, Home, End, first letters and Escape. When it closes, the focus returns to where it was. */

import { el, testId } from "./dom.js";

let closeOpen = null;

/**
 * @param {HTMLElement} anchor the button that opened it
 * @param {Array<{label: string, id: string, action: () => void, disabled?: boolean} | null>} entries null: a separator
 * @param {{x: number, y: number}} [at] where the pointer is, for a context menu
 */
export function openMenu(anchor, entries, label, at) {
  closeOpen?.();
  const before = document.activeElement;
  const items = [];
  const menu = el("div", { role: "menu", class: "air-lora-menu", "aria-label": label, dataset: testId("menu") });
  for (const entry of entries) {
    if (entry === null) {
      menu.append(el("div", { role: "separator", class: "air-lora-menu-line" }));
      continue;
    }
    const choose = () => {
      close(true);
      entry.action();
    };
    const item = el(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        class: "air-lora-menu-item",
        disabled: entry.disabled,
        dataset: testId(`menu-${entry.id}`),
        onclick: choose,
      },
      entry.label,
    );
    if (!entry.disabled) items.push(item);
    menu.append(item);
  }
  const close = (back) => {
    menu.remove();
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("wheel", outside, true);
    anchor.setAttribute("aria-expanded", "false");
    closeOpen = null;
    if (back) (before instanceof HTMLElement && before.isConnected ? before : anchor).focus({ preventScroll: true });
  };
  const outside = (event) => {
    if (!menu.contains(event.target)) close(false);
  };
  menu.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const index = items.indexOf(document.activeElement);
    const goals = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: items.length - 1 };
    if (event.key in goals) items.at(goals[event.key] % items.length)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (event.key.length === 1) {
      const letter = event.key.toLowerCase();
      [...items.slice(index + 1), ...items].find((item) => item.textContent.toLowerCase().startsWith(letter))?.focus();
      return;
    } else return;
    event.preventDefault();
  });
  document.body.append(menu);
  place(menu, anchor, at);
  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("wheel", outside, true);
  anchor.setAttribute("aria-expanded", "true");
  closeOpen = () => close(false);
  items[0]?.focus({ preventScroll: true });
  return menu;
}

function place(menu, anchor, at) {
  const box = anchor.getBoundingClientRect();
  const own = menu.getBoundingClientRect();
  const x = at ? at.x : box.right - own.width;
  const y = at ? at.y : box.bottom + 4;
  menu.style.left = `${Math.max(8, Math.min(x, innerWidth - own.width - 8))}px`;
  menu.style.top = `${Math.max(8, y + own.height + 8 > innerHeight && !at ? box.top - own.height - 4 : Math.min(y, innerHeight - own.height - 8))}px`;
}
