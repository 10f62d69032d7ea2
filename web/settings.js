/**
 * The settings of AIR LoRA in ComfyUI's own dialog.
 *
 * What only the page needs (steps, range, default weight, the policy of new nodes) ComfyUI keeps. What the server needs
 * (tokens, folder, connections, offline) the server keeps, and ComfyUI's public settings file never sees a token.
 * The names here are the English ones; `locales/<lang>/settings.json` has those of other languages.
 */

import { LEAST_WEIGHT, MOST_WEIGHT, NEW_WEIGHT } from "./rows/state.js";
import { STEP } from "./rows/keyboard.js";
import { folderField, numberField, picturesField, storeField, switchField, tokenField } from "./settings_fields.js";

const PACK = "AIR LoRA";
const FINEST_STEP = 0.005;
const COARSEST_STEP = 1;
const POLICIES = ["error", "skip"];

/** The settings of the rows as they hold together, whatever each of them says. @param {(id: string) => any} get */
export function readSettings(get) {
  const number = (id, otherwise, least, most) => {
    const value = get(id);
    const read = value === null || value === undefined || value === "" ? Number.NaN : Number(value);
    return Number.isFinite(read) ? Math.min(most, Math.max(least, read)) : otherwise;
  };
  const step = number("AirLora.Widget.Step", STEP, FINEST_STEP, COARSEST_STEP);
  let least = number("AirLora.Widget.Min", LEAST_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT);
  let most = number("AirLora.Widget.Max", MOST_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT);
  if (least >= most) [least, most] = [LEAST_WEIGHT, MOST_WEIGHT];
  const newWeight = Math.min(
    most,
    Math.max(least, number("AirLora.Widget.DefaultWeight", NEW_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT)),
  );
  const policy = get("AirLora.Nodes.OnMismatch");
  return { step, least, most, newWeight, onMismatch: POLICIES.includes(policy) ? policy : POLICIES[0] };
}

/**
 * For `registerExtension({settings})`.
 * @param server the pack's routes
 * @param {() => void} changed a token or another setting of the server is another now
 */
export function settingsPage(server, changed) {
  const weight = {
    min: LEAST_WEIGHT,
    max: MOST_WEIGHT,
    step: STEP,
    minFractionDigits: 0,
    maxFractionDigits: 3,
    showButtons: true,
  };
  const ask = { server, changed };
  /** @type {[string, string, string, string, object][]} */
  const all = [
    [
      "Accounts",
      "AirLora.Accounts.Civitai",
      "CivitAI token",
      "For LoRAs that CivitAI gives to signed-in users. Made on civitai.com, in your account settings. Kept on the server and never shown again.",
      { type: () => tokenField(ask, "civitai", "CIVITAI_API_TOKEN") },
    ],
    [
      "Accounts",
      "AirLora.Accounts.HuggingFace",
      "Hugging Face token",
      "For gated and private repositories. Made on huggingface.co, in your settings. Kept on the server and never shown again.",
      { type: () => tokenField(ask, "huggingface", "HF_TOKEN") },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Folder",
      "Download folder",
      "Which of ComfyUI's loras folders new files go to. More folders: extra_model_paths.yaml.",
      { type: () => folderField(ask, "AIR_LORA_DIR") },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Connections",
      "Parallel connections",
      "How many parts of a file are downloaded at once. Empty: the default.",
      { type: () => numberField(ask, "AIR_LORA_CONNECTIONS", 1, 16) },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Offline",
      "Offline",
      "Uses only files on this disk. Nothing is asked of the network.",
      { type: () => switchField(ask, "AIR_LORA_OFFLINE") },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Store",
      "Shared store",
      "Where finished LoRAs are shared with other machines. Named when ComfyUI is started: docs/workers.md.",
      { type: () => storeField(ask, "AIR_LORA_STORE") },
    ],
    [
      "Pictures",
      "AirLora.Pictures.Level",
      "Pictures up to",
      "CivitAI's levels. Pictures above it are blurred until you click them, and are not kept. PG and PG13: the search asks for nothing beyond either.",
      { type: () => picturesField(ask, "AIR_LORA_PICTURES") },
    ],
    [
      "Rows",
      "AirLora.Widget.DefaultWeight",
      "Weight of new LoRAs",
      "What a LoRA starts with when it is added without a weight.",
      { type: "number", defaultValue: NEW_WEIGHT, attrs: weight },
    ],
    [
      "Rows",
      "AirLora.Widget.Step",
      "Step of weights",
      "How much an arrow key or a short drag changes a weight. Shift: ten times as much, Alt: a fifth.",
      { type: "number", defaultValue: STEP, attrs: { ...weight, min: FINEST_STEP, max: COARSEST_STEP, step: 0.01 } },
    ],
    [
      "Rows",
      "AirLora.Widget.Min",
      "Least weight",
      "How low a weight can be set in a row. The text may say less, down to -4.",
      { type: "number", defaultValue: LEAST_WEIGHT, attrs: weight },
    ],
    [
      "Rows",
      "AirLora.Widget.Max",
      "Greatest weight",
      "How high a weight can be set in a row. The text may say more, up to 4.",
      { type: "number", defaultValue: MOST_WEIGHT, attrs: weight },
    ],
    [
      "Nodes",
      "AirLora.Nodes.OnMismatch",
      "When a LoRA does not fit",
      "What a new Apply LoRA Array starts with. Nodes that are there already stay as they are.",
      {
        type: "combo",
        defaultValue: POLICIES[0],
        options: [
          { text: "Stop with an error", value: "error" },
          { text: "Leave it out", value: "skip" },
        ],
      },
    ],
  ];
  return all.map(([section, id, name, tooltip, more], index) => ({
    id,
    name,
    tooltip,
    category: [PACK, section, name],
    sortOrder: all.length - index,
    ...("defaultValue" in more ? {} : { defaultValue: null }),
    ...more,
  }));
}

const LOOKS = 40;
const LOOK_MS = 75;

/** Opens ComfyUI's settings at one of ours. The dialog has no public way to a single setting, so its own list is used. */
export async function openSetting(app, id) {
  await app.extensionManager?.command?.execute?.("Comfy.ShowSettingsDialog");
  const ours = await appears(() =>
    [...document.querySelectorAll("[role=dialog] *")].find(
      (each) => !each.children.length && each.textContent.trim() === PACK,
    ),
  );
  ours?.click();
  const name = id.split(".").at(-1).toLowerCase();
  const field = await appears(() => document.querySelector(`[data-air-lora="setting-${CSS.escape(name)}"]`));
  field?.scrollIntoView({ block: "center" });
  (field?.matches("input, button") ? field : field?.querySelector("input, button"))?.focus();
}

async function appears(find) {
  for (let look = 0; look < LOOKS; look += 1) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return null;
}
