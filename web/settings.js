/**
 * The settings of AIR LoRA in ComfyUI's own dialog.
 *
 * ComfyUI stores the settings that only the page needs (steps, range, default weight, the policy of new nodes). The
 * server stores its own (tokens, folder, connections, offline), so tokens are never in ComfyUI's public settings file.
 * The names here are in English; `locales/<lang>/settings.json` contains those of other languages.
 */

import { LEAST_WEIGHT, MOST_WEIGHT, NEW_WEIGHT } from "./rows/state.js";
import { STEP } from "./rows/keyboard.js";
import { folderField, numberField, picturesField, storeField, switchField, tokenField } from "./settings_fields.js";

const PACK = "AIR LoRA";
const FINEST_STEP = 0.005;
const COARSEST_STEP = 1;
const POLICIES = ["error", "skip"];

/** The settings of the rows, within their limits and consistent with each other. @param {(id: string) => any} get */
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
  return {
    step,
    least,
    most,
    newWeight,
    onMismatch: POLICIES.includes(policy) ? policy : POLICIES[0],
    compact: get("AirLora.Widget.Compact") === true,
  };
}

/**
 * For `registerExtension({settings})`.
 * @param server the pack's routes
 * @param {() => void} changed called after a token or another setting of the server has changed
 * @param {() => void} shown called after the look of the rows has changed
 */
export function settingsPage(server, changed, shown = () => {}) {
  const look = { onChange: () => setTimeout(shown, 0) }; // onChange is called before the value can be read
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
      "For LoRAs that require a CivitAI account. Create a token in your account settings on civitai.com. The token is stored on the server and never shown again.",
      { type: () => tokenField(ask, "civitai", "CIVITAI_API_TOKEN") },
    ],
    [
      "Accounts",
      "AirLora.Accounts.HuggingFace",
      "Hugging Face token",
      "For gated and private repositories. Create a token in your settings on huggingface.co. The token is stored on the server and never shown again.",
      { type: () => tokenField(ask, "huggingface", "HF_TOKEN") },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Folder",
      "Download folder",
      "The loras folder where new files are saved. To add folders, edit extra_model_paths.yaml.",
      { type: () => folderField(ask, "AIR_LORA_DIR") },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Connections",
      "Parallel connections",
      "How many parts of a file are downloaded at the same time. Leave empty to use the default.",
      { type: () => numberField(ask, "AIR_LORA_CONNECTIONS", 1, 64) },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Offline",
      "Offline",
      "Doesn't contact CivitAI or Hugging Face. A shared store is still read.",
      { type: () => switchField(ask, "AIR_LORA_OFFLINE", "offline", "offline") },
    ],
    [
      "Downloads",
      "AirLora.Downloads.Store",
      "Shared store",
      "Where downloaded LoRAs are shared with other machines. Set it when you start ComfyUI. See docs/workers.md.",
      { type: () => storeField(ask, "AIR_LORA_STORE") },
    ],
    [
      "Pictures",
      "AirLora.Pictures.Level",
      "Maximum content level",
      "CivitAI's content levels. Pictures above this level are blurred until you click them, and aren't cached. With PG or PG13, searches don't go above this level either.",
      { type: () => picturesField(ask, "AIR_LORA_PICTURES") },
    ],
    [
      "Rows",
      "AirLora.Widget.DefaultWeight",
      "Weight of new LoRAs",
      "Used when you add a LoRA without a weight and no suggested weight is available.",
      { type: "number", defaultValue: NEW_WEIGHT, attrs: weight },
    ],
    [
      "Rows",
      "AirLora.Widget.Step",
      "Weight step",
      "How much an arrow key or a short drag changes a weight. Hold Shift for ten times as much, or Alt for a fifth.",
      { type: "number", defaultValue: STEP, attrs: { ...weight, min: FINEST_STEP, max: COARSEST_STEP, step: 0.01 } },
    ],
    [
      "Rows",
      "AirLora.Widget.Min",
      "Minimum weight",
      "The lowest weight that you can set in a row. In the JSON, you can set weights down to -4.",
      { type: "number", defaultValue: LEAST_WEIGHT, attrs: weight },
    ],
    [
      "Rows",
      "AirLora.Widget.Max",
      "Maximum weight",
      "The highest weight that you can set in a row. In the JSON, you can set weights up to 4.",
      { type: "number", defaultValue: MOST_WEIGHT, attrs: weight },
    ],
    [
      "Rows",
      "AirLora.Widget.Compact",
      "Compact rows",
      "Shows each LoRA on one line. To see its picture and trigger words, choose Info in its menu.",
      { type: "boolean", defaultValue: false, ...look },
    ],
    [
      "Endpoint",
      "AirLora.Endpoint.On",
      "Request endpoint",
      "Lets programs written for the Runware API use this ComfyUI at /air_lora/v1. When it's off, all requests are rejected.",
      { type: () => switchField(ask, "AIR_LORA_API", "endpoint", "endpointOn") },
    ],
    [
      "Endpoint",
      "AirLora.Endpoint.Key",
      "Endpoint key",
      "The key that other computers must send. This computer doesn't need one. Use at least 25 characters. The key is stored on the server and never shown again.",
      { type: () => tokenField(ask, "endpoint", "AIR_LORA_API_KEY") },
    ],
    [
      "Nodes",
      "AirLora.Nodes.OnMismatch",
      "When a LoRA is incompatible",
      "The default for new Apply LoRA Array nodes. Existing nodes don't change.",
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

const LOOKS = 200;
const LOOK_MS = 75;

/** Opens one of our settings. ComfyUI's dialog has no API for a single setting, so this clicks in its list. */
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
