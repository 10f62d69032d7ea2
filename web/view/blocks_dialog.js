/** Chooses the blocks that an entry applies to: presets, a bar for each block of the checkpoint, and the JSON text. */

import { COMMUNITY, STRUCTURAL, blockNames, blocksOfFactors, factorsOf, withinFactor } from "../rows/blocks.js";
import { t } from "../strings.js";
import { openDialog } from "./dialogs.js";
import { el, setAttribute, testId } from "./dom.js";

const SHOWN_MOST = 1.5;

/**
 * @param {{name: string, entry: () => any, change: (members: Record<string, any>) => void, rows: Array<[string, number[]]>,
 *   strengths: Record<string, number> | null, check: (blocks: any) => Promise<string | null>}} row `rows` are the
 *   checkpoint's blocks, empty if they are unknown; `strengths` is what Analyze measured for this entry; `check`
 *   returns what is wrong with a text
 */
export function openBlocksDialog({ name, entry, change, rows, strengths, check }) {
  const now = () => entry().blocks ?? null;
  const set = (blocks) => {
    change({ blocks });
    draw();
  };
  const strongest = Math.max(...Object.values(strengths ?? { none: 0 }), Number.MIN_VALUE);
  const bars = blockNames(rows).map((block) => {
    const fill = el("span", { class: "air-lora-block-fill" });
    const measured = el("span", { class: "air-lora-block-measured" });
    const share = (strengths?.[block] ?? 0) / strongest;
    measured.style.height = `${Math.round(share * 100)}%`;
    const bar = el(
      "div",
      {
        class: "air-lora-block",
        role: "slider",
        tabindex: "0",
        "aria-orientation": "vertical",
        "aria-valuemin": "0",
        "aria-valuemax": String(SHOWN_MOST),
        dataset: testId("block"),
        onkeydown: (event) => {
          const step = event.shiftKey ? 0.5 : 0.1;
          const moves = { ArrowUp: step, ArrowDown: -step };
          const factor = (factorsOf(now(), rows) ?? {})[block] ?? 1;
          if (event.key in moves) setOne(block, factor + moves[event.key]);
          else if (event.key === "Home" || event.key === "Delete") setOne(block, 0);
          else if (event.key === "End") setOne(block, 1);
          else if (event.key === "ArrowLeft" || event.key === "ArrowRight")
            /** @type {any} */ (
              event.key === "ArrowLeft" ? bar.previousElementSibling : bar.nextElementSibling
            )?.focus?.();
          else return;
          event.preventDefault();
        },
        onpointerdown: (event) => {
          bar.setPointerCapture(event.pointerId);
          const drag = (moved) => {
            const under = document
              .elementsFromPoint(moved.clientX, bar.getBoundingClientRect().bottom - 2)
              .find((each) => each.classList.contains("air-lora-block"));
            const target = bars.find((each) => each.bar === under) ?? bars.find((each) => each.bar === bar);
            const box = bar.getBoundingClientRect();
            const factor = ((box.bottom - moved.clientY) / box.height) * SHOWN_MOST;
            if (target) setOne(target.block, Math.round(Math.min(SHOWN_MOST, Math.max(0, factor)) * 20) / 20);
          };
          const up = () => {
            bar.removeEventListener("pointermove", drag);
            bar.removeEventListener("pointerup", up);
          };
          bar.addEventListener("pointermove", drag);
          bar.addEventListener("pointerup", up);
          drag(event);
          bar.focus();
          event.preventDefault();
        },
      },
      measured,
      fill,
    );
    return { block, bar, fill };
  });

  /** The community's presets are for U-Nets. If no checkpoint is known, it may be one. */
  const isForCommunity = !rows.length || rows.some(([row]) => row === "input_blocks");

  function setOne(block, factor) {
    const factors = factorsOf(now(), rows);
    // A bar doesn't replace a value that bars can't show. "All blocks" removes it.
    if (factors) set(blocksOfFactors({ ...factors, [block]: withinFactor(factor) }, rows, now()));
  }

  const text = el("input", {
    type: "text",
    class: "air-lora-text",
    spellcheck: "false",
    autocomplete: "off",
    "aria-label": t("blocksText"),
    placeholder: '"OUTALL", "1,0,…", { "output_blocks.3-5": 0.5 }',
    dataset: testId("blocks-text"),
    onchange: async () => {
      const typed = readText(text.value);
      const fault = typed === null ? null : await check(typed);
      says.textContent = fault ?? "";
      setAttribute(text, "aria-invalid", fault ? "true" : null);
      if (!fault) set(typed);
    },
  });
  const says = el("p", { class: "air-lora-blocks-fault", role: "status", dataset: testId("blocks-fault") });
  const preset = (label) =>
    el(
      "button",
      {
        type: "button",
        class: "air-lora-plain",
        "aria-pressed": "false",
        dataset: { ...testId("blocks-preset"), preset: label },
        onclick: () => set(now() === label ? null : label),
      },
      label,
    );
  const presets = [...STRUCTURAL, ...COMMUNITY].map(preset);

  function draw() {
    const blocks = now();
    const factors = factorsOf(blocks, rows);
    for (const { block, bar, fill } of bars) {
      const factor = factors?.[block];
      bar.classList.toggle("air-lora-block-unknown", factor === undefined);
      setAttribute(bar, "aria-disabled", factor === undefined ? "true" : null);
      fill.style.height = `${Math.round((Math.min(SHOWN_MOST, Math.max(0, factor ?? 0)) / SHOWN_MOST) * 100)}%`;
      const label = factor === undefined ? block : `${block}: ${factor}`;
      setAttribute(bar, "aria-label", block);
      setAttribute(bar, "aria-valuenow", factor ?? 0);
      setAttribute(bar, "aria-valuetext", factor === undefined ? t("blocksUnknown") : String(factor));
      setAttribute(bar, "title", label);
    }
    for (const button of presets) setAttribute(button, "aria-pressed", String(button.dataset.preset === blocks));
    if (document.activeElement !== text) text.value = blocks === null ? "" : JSON.stringify(blocks);
  }

  openDialog(
    t("blocksTitle", { name }),
    "blocks",
    () =>
      el(
        "div",
        { class: "air-lora-blocks" },
        el(
          "div",
          { class: "air-lora-presets", role: "group", "aria-label": t("blocksStructural") },
          ...presets.slice(0, STRUCTURAL.length),
        ),
        isForCommunity ? el("p", { class: "air-lora-hint" }, t("blocksCommunity")) : null,
        isForCommunity
          ? el(
              "div",
              { class: "air-lora-presets", role: "group", "aria-label": t("blocksCommunity") },
              ...presets.slice(STRUCTURAL.length),
            )
          : null,
        rows.length
          ? el(
              "div",
              { class: "air-lora-block-rows" },
              ...rows.map(([row, numbers]) =>
                el(
                  "div",
                  { class: "air-lora-block-row" },
                  el("span", { class: "air-lora-block-name" }, row),
                  el(
                    "div",
                    { class: "air-lora-block-bars", role: "group", "aria-label": row },
                    ...bars.filter(({ block }) => block.startsWith(`${row}.`)).map(({ bar }) => bar),
                  ),
                  el("span", { class: "air-lora-block-ends" }, `${numbers[0]}–${numbers.at(-1)}`),
                ),
              ),
            )
          : el("p", { class: "air-lora-hint" }, t("blocksNoCheckpoint")),
        el("label", { class: "air-lora-field air-lora-field-wide" }, el("span", {}, t("blocksText")), text),
        says,
        el(
          "div",
          { class: "air-lora-form-buttons" },
          el(
            "button",
            { type: "button", class: "air-lora-plain", dataset: testId("blocks-all"), onclick: () => set(null) },
            t("blocksAll"),
          ),
        ),
      ),
    "air-lora-dialog-blocks",
  );
  draw();
}

/** JSON, or a preset or a vector without quotation marks; null for an empty text. */
function readText(written) {
  const plain = written.trim();
  if (!plain) return null;
  try {
    return JSON.parse(plain);
  } catch {
    return plain;
  }
}
