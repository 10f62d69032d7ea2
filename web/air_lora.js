/**
 * The widget of AIR LoRA. The only module that uses ComfyUI's `app`.
 *
 * The STRING input `lora` keeps its type, its socket and its value. Only the widget that shows it is ours: a DOM widget
 * whose value is the text. So workflows, API export, clones, undo and subgraphs treat it like any other text.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { withoutNodesForSites } from "./graph/for_sites.js";
import { translateDefinitions, translateNode, translateSettings } from "./node_texts.js";
import { RowsWidgets } from "./rows_widget.js";
import { Knowledge, Server } from "./server.js";
import { loadStrings } from "./strings.js";
import { openSetting, readSettings, settingsPage } from "./settings.js";
import { nodeAt, tellFailures, tellRejections } from "./toasts.js";

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

/** Ends an undo step. The front end renamed this function between releases. */
function settled() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
}

/** Adds what has changed since to the last undo step, instead of making another step. */
function amended() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  const last = tracker?.undoQueue?.at(-1);
  settled();
  if (last && tracker.undoQueue.at(-1) !== last) tracker.undoQueue.pop();
}

/** The prompt ID of the current run. */
let running = null;
/** Cancels the run that downloads, but not the next one. */
const interrupt = () => server.post("/interrupt", running ? { prompt_id: running } : {});

const rows = new RowsWidgets({
  app,
  server,
  knowledge,
  settings,
  toast,
  settled,
  amended,
  interrupt,
  openSetting: (id) => openSetting(app, id),
});
const settingsOfPage = settingsPage(
  server,
  () => knowledge.forgetAll(),
  () => rows.renderAll(),
);
/** The rows of the node with this execution ID, or null. */
function editorOf(id) {
  const node = nodeAt(app.rootGraph ?? app.graph, id);
  return node ? { setFailures: (failures) => rows.setFailures(node, failures) } : null;
}
/** The pack's texts in the page's language; empty for English. */
let texts = {};

app.registerExtension({
  name: "AirLora.Rows",

  async init() {
    const style = Object.assign(document.createElement("link"), {
      rel: "stylesheet",
      href: new URL("./air_lora.css", import.meta.url).href,
    });
    document.head.append(style);
    // Before ComfyUI's own handler, which would take the text for a note or a workflow.
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
    api.addEventListener("reconnected", () => knowledge.forgetAll()); // events were missed meanwhile
    api.addEventListener("execution_error", ({ detail }) => {
      if (!String(detail?.node_type ?? "").startsWith("AirLora")) return;
      tellFailures(detail, editorOf(detail.node_id), toast);
    });
    const { queuePrompt } = api;
    const tell = (/** @type {any} */ answer) => {
      try {
        tellRejections(answer?.node_errors, editorOf, toast);
      } catch (error) {
        console.error(error); // ComfyUI's own message must not be lost
      }
    };
    api.queuePrompt = async (...args) => {
      try {
        const answer = await queuePrompt.apply(api, args);
        tell(answer); // some outputs can be rejected while others run
        return answer;
      } catch (error) {
        tell(/** @type {any} */ (error)?.response); // ComfyUI's PromptExecutionError
        throw error;
      }
    };
  },

  async setup() {
    const { loadApiJson } = app;
    if (typeof loadApiJson === "function")
      app.loadApiJson = (prompt, ...rest) => loadApiJson.call(app, withoutNodesForSites(prompt), ...rest);
    // The checkpoint behind MODEL can change without an event (another checkpoint is chosen, a link is moved), so it is
    // checked every second, but only while the page is visible.
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

  /** At this point, ComfyUI's settings have been read, and nothing of ours has been shown yet. */
  async addCustomNodeDefs(definitions) {
    texts = await loadStrings((path) => api.fetchApi(path), app.extensionManager?.setting?.get?.("Comfy.Locale"));
    translateDefinitions(definitions, texts.nodeDefs);
    const taken = app.extensionManager?.setting?.settings ?? {}; // some releases copy the settings
    translateSettings([...settingsOfPage, ...settingsOfPage.flatMap(({ id }) => taken[id] ?? [])], texts.settings);
  },

  /** A new node starts with the policy from the settings. A workflow's node gets its own value right after this. */
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
