/**
 * The widget of AIR LoRA. The only module that touches ComfyUI's `app`.
 *
 * The STRING input `lora` keeps its type, its socket and its value. Only the widget that shows it is ours, one DOM widget
 * whose value is the text: so workflows, API export, clones, undo and subgraphs treat it as any other text.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { translateDefinitions, translateNode, translateSettings } from "./node_texts.js";
import { RowsWidgets } from "./rows_widget.js";
import { Knowledge, Server } from "./server.js";
import { loadStrings } from "./strings.js";
import { openSetting, readSettings, settingsPage } from "./settings.js";
import { nodeAt, tellFailures } from "./toasts.js";

const NODES = new Set([
  "AirLoraAnalyze",
  "AirLoraApply",
  "AirLoraArray",
  "AirLoraHooks",
  "AirLoraPick",
  "AirLoraSave",
  "AirLoraSweep",
]);
const INPUT = "lora";
const WIDGET = "AIR_LORA_ROWS";

const server = new Server(api);
const knowledge = new Knowledge(server);
const settings = () => readSettings((id) => app.extensionManager?.setting?.get?.(id));

function toast(severity, summary, detail) {
  app.extensionManager?.toast?.add?.({ severity, summary, detail, life: severity === "error" ? 10000 : 4000 });
}

/** Ends a step of undo. The front end's name for it changed between releases. */
function settled() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
}

/** The run that is under way, as ComfyUI numbers it. */
let running = null;
/** Cancels the run that downloads, and no other that may come next. */
const interrupt = () => server.post("/interrupt", running ? { prompt_id: running } : {});

const rows = new RowsWidgets({
  app,
  server,
  knowledge,
  settings,
  toast,
  settled,
  interrupt,
  openSetting: (id) => openSetting(app, id),
});
const settingsOfPage = settingsPage(server, () => knowledge.forgetAll());
/** What the pack says in the page's language; empty where that is English. */
let texts = {};

app.registerExtension({
  name: "AirLora.Rows",

  async init() {
    const style = Object.assign(document.createElement("link"), {
      rel: "stylesheet",
      href: new URL("./air_lora.css", import.meta.url).href,
    });
    document.head.append(style);
    // Before ComfyUI's own: it would take the text for a note or a workflow.
    document.addEventListener("paste", (event) => rows.pasteOnNode(event), { capture: true });
    api.addEventListener("air_lora.progress", ({ detail }) => {
      for (const editor of rows.editors) editor.onProgress(detail ?? {});
    });
    api.addEventListener("execution_start", ({ detail }) => {
      running = detail?.prompt_id ?? null;
      for (const editor of rows.editors) editor.setFailures([]);
    });
    for (const [event, isAll] of [
      ["execution_interrupted", false],
      ["execution_error", false],
      ["execution_success", false],
      ["reconnecting", true],
    ]) {
      api.addEventListener(event, () => {
        for (const editor of rows.editors) editor.endProgress(isAll);
      });
    }
    api.addEventListener("reconnected", () => knowledge.forgetAll()); // what arrived meanwhile, nobody said
    api.addEventListener("execution_error", ({ detail }) => {
      if (!String(detail?.node_type ?? "").startsWith("AirLora")) return;
      const node = nodeAt(app.rootGraph ?? app.graph, detail.node_id);
      tellFailures(detail, node ? { setFailures: (failures) => rows.setFailures(node, failures) } : null, toast);
    });
  },

  async setup() {
    // What is behind MODEL changes far from here (another checkpoint chosen, a link moved): looked at now and then,
    // only while the page is seen.
    let last = "";
    setInterval(() => {
      if (document.hidden || !rows.editors.size) return;
      rows.check();
      const now = JSON.stringify(rows.state());
      if (now !== last) rows.renderAll();
      last = now;
    }, 1000);
  },

  settings: settingsOfPage,

  /** ComfyUI's settings are read by now, and nothing of ours was shown yet. */
  async addCustomNodeDefs(definitions) {
    texts = await loadStrings((path) => api.fetchApi(path), app.extensionManager?.setting?.get?.("Comfy.Locale"));
    translateDefinitions(definitions, texts.nodeDefs);
    const taken = app.extensionManager?.setting?.settings ?? {}; // some releases copy what they are given
    translateSettings([...settingsOfPage, ...settingsOfPage.flatMap(({ id }) => taken[id] ?? [])], texts.settings);
  },

  /** A new node starts with the policy of the settings; one of a workflow gets its own back right after this. */
  nodeCreated(node) {
    translateNode(node, texts.nodeDefs);
    rows.adopt(node);
    const policy = node.comfyClass === "AirLoraApply" && node.widgets?.find((each) => each.name === "on_mismatch");
    if (policy) policy.value = settings().onMismatch;
  },

  getCustomWidgets: () => ({ [WIDGET]: (node, name, spec) => rows.make(node, name, spec) }),

  async beforeRegisterNodeDef(_nodeType, nodeData) {
    if (!NODES.has(nodeData.name)) return;
    const spec = nodeData.input?.required?.[INPUT];
    if (spec) spec[1] = { ...spec[1], widgetType: WIDGET };
  },
});
