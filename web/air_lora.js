/**
 * The widget of AIR LoRA. The only module that touches ComfyUI's `app`.
 *
 * The STRING input `lora` keeps its type, its socket and its value. Only the widget that shows it is ours, one DOM widget
 * whose value is the text: so workflows, API export, clones, undo and subgraphs treat it as any other text.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { checkpointAbove } from "./graph/checkpoint_above.js";
import { Knowledge, Server } from "./server.js";
import { hostInputOf, promptWidgetNear } from "./graph/neighbours.js";
import { translateDefinitions, translateNode, translateSettings } from "./node_texts.js";
import { loadStrings } from "./strings.js";
import { readSettings, settingsPage } from "./settings.js";
import { nodeAt, tellFailures } from "./toasts.js";
import { LoraEditor } from "./view/editor.js";

const NODES = new Set(["AirLoraAnalyze", "AirLoraApply", "AirLoraArray", "AirLoraSave", "AirLoraSweep"]);
const INPUT = "lora";
const WIDGET = "AIR_LORA_ROWS";
const LEAST_WIDTH = 440;

const server = new Server(api);
const knowledge = new Knowledge(server);
/** @type {Set<LoraEditor>} */
const editors = new Set();

const settings = () => readSettings((id) => app.extensionManager?.setting?.get?.(id));

/** The rows of each node, to mark those that a run names. @type {WeakMap<object, LoraEditor>} */
const editorOf = new WeakMap();

function toast(severity, summary, detail) {
  app.extensionManager?.toast?.add?.({ severity, summary, detail, life: severity === "error" ? 10000 : 4000 });
}

/** Ends a step of undo. The front end's name for it changed between releases. */
function settled() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
}

function makeWidget(node, name, spec) {
  let widget = null;
  const host = {
    commit: (text) => {
      widget.value = text;
      node.graph?.setDirtyCanvas?.(true, true);
    },
    settled,
    checkpoint: () => (node.graph ? checkpointAbove(node, app.rootGraph ?? app.graph) : null),
    isWired: () => {
      const input = node.inputs?.find((each) => each.name === name);
      return input ? hostInputOf(node, input, app.rootGraph ?? app.graph) === "wired" : false;
    },
    settings,
    appendToPrompt: (text) => {
      const prompt = promptWidgetNear(node);
      if (!prompt) return false;
      prompt.value = prompt.value ? `${String(prompt.value).replace(/[,\s]+$/, "")}, ${text}` : text;
      settled();
      return true;
    },
    toast,
    isVue: () => Boolean(globalThis.LiteGraph?.vueNodesMode),
    resized: () => requestAnimationFrame(() => fit(node)),
    wheel: (event) => {
      if (!globalThis.LiteGraph?.vueNodesMode) app.canvas?.processMouseWheel?.(event);
    },
  };
  const editor = new LoraEditor({ server, knowledge, host });
  const initial = spec?.[1]?.default ?? "[]";
  editor.setText(initial);
  widget = node.addDOMWidget(name, "air_lora_rows", editor.element, {
    getValue: () => editor.text,
    setValue: (text) => editor.setText(text),
    getMinHeight: () => editor.wantedHeight(),
    hideOnZoom: false,
    selectOn: [],
  });
  widget.serializeValue = () => editor.text;
  editors.add(editor);
  editorOf.set(node, editor);

  const { onAdded, onRemoved, onExecuted, onConnectionsChange } = node;
  // A node that is put into a subgraph is removed and added again, with the same widget.
  node.onAdded = function (...args) {
    editors.add(editor);
    editor.watch();
    return onAdded?.apply(this, args);
  };
  node.onRemoved = function (...args) {
    editors.delete(editor);
    editor.dispose();
    return onRemoved?.apply(this, args);
  };
  node.onExecuted = function (output, ...args) {
    const ran = output?.air_lora?.[0];
    if (typeof ran?.lora === "string") editor.setRan(ran.lora);
    return onExecuted?.call(this, output, ...args);
  };
  node.onConnectionsChange = function (...args) {
    queueMicrotask(() => editor.render());
    return onConnectionsChange?.apply(this, args);
  };
  queueMicrotask(() => fit(node));
  return { widget, minWidth: LEAST_WIDTH, minHeight: 160 };
}

/** The node grows with its rows; what the user made larger stays as large. */
function fit(node) {
  if (!node.graph) return;
  const [width, height] = node.computeSize();
  if (node.size[0] < LEAST_WIDTH || node.size[1] < height) {
    node.setSize([Math.max(node.size[0], width, LEAST_WIDTH), Math.max(node.size[1], height)]);
  }
  node.graph.setDirtyCanvas?.(true, true);
}

function refreshAll() {
  for (const editor of editors) editor.render();
}

const settingsOfPage = settingsPage(server, () => knowledge.forgetAll());
/** What the pack says in the page's language; empty where that is English. */
let texts = {};

app.registerExtension({
  name: "AirLora.Rows",

  async init() {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("./air_lora.css", import.meta.url).href });
    document.head.append(style);
    api.addEventListener("air_lora.progress", ({ detail }) => {
      for (const editor of editors) editor.onProgress(detail ?? {});
    });
    api.addEventListener("execution_start", () => {
      for (const editor of editors) editor.setFailures([]);
    });
    api.addEventListener("execution_error", ({ detail }) => {
      if (!String(detail?.node_type ?? "").startsWith("AirLora")) return;
      const node = nodeAt(app.rootGraph ?? app.graph, detail.node_id);
      tellFailures(detail, node ? editorOf.get(node) ?? null : null, toast);
    });
  },

  async setup() {
    // What is behind MODEL changes far from here (another checkpoint chosen, a link moved): looked at now and then,
    // only while the page is seen.
    let last = "";
    setInterval(() => {
      if (document.hidden || !editors.size) return;
      const now = JSON.stringify([...editors].map((editor) => [editor.host.checkpoint(), editor.readOnly, editor.host.isVue()]));
      if (now !== last) refreshAll();
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
    const policy = node.comfyClass === "AirLoraApply" && node.widgets?.find((each) => each.name === "on_mismatch");
    if (policy) policy.value = settings().onMismatch;
  },

  getCustomWidgets: () => ({ [WIDGET]: (node, name, spec) => makeWidget(node, name, spec) }),

  async beforeRegisterNodeDef(_nodeType, nodeData) {
    if (!NODES.has(nodeData.name)) return;
    const spec = nodeData.input?.required?.[INPUT];
    if (spec) spec[1] = { ...spec[1], widgetType: WIDGET };
  },
});
