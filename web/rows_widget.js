/**
 * The rows as a widget: on the node that has the text, and on each subgraph node that shows it as its own.
 *
 * Every node has an editor and an element of its own. ComfyUI's way with promoted widgets differs between releases: older ones
 * copy the widget (`createCopyForNode`), newer ones ask the subgraph node for one (`createPromotedHostWidget`).
 */

import { checkpointAbove } from "./graph/checkpoint_above.js";
import { hostInputOf, promptWidgetNear } from "./graph/neighbours.js";
import { innermost, outermost } from "./graph/promoted.js";
import { appended } from "./rows/prompt_words.js";
import { namesLoras } from "./rows/pasted.js";
import { showInPanels } from "./panels.js";
import { t } from "./strings.js";
import { LoraEditor } from "./view/editor.js";
import { putRowsInPlace } from "./vue_mounts.js";

const TYPE = "air_lora_rows";
const LEAST_WIDTH = 440;
/** Names and weights still have room; see the style sheet. */
const NARROWEST = 300;
const LEAST_HEIGHT = 160;

/** @typedef {{node: any, widget: any, editor: LoraEditor | null, graphId: any}} Place */

export class RowsWidgets {
  /** @param {{app: any, server: any, knowledge: any, settings: () => any, toast: (severity: string, summary: string, detail?: string) => void, settled: () => void, interrupt: () => void, openSetting: (id: string) => void}} parts */
  constructor({ app, server, knowledge, settings, toast, settled, interrupt, openSetting }) {
    this.app = app;
    this.server = server;
    this.knowledge = knowledge;
    this.settings = settings;
    this.toast = toast;
    this.settled = settled;
    this.interrupt = interrupt;
    this.openSetting = openSetting;
    /** @type {Set<LoraEditor>} those of nodes that are in a graph */
    this.editors = new Set();
    /** Which node shows an editor's rows, through which widget. @type {WeakMap<LoraEditor, Place>} */
    this.places = new WeakMap();
    /** @type {WeakMap<object, LoraEditor>} the rows of each node */
    this.ofNode = new WeakMap();
    /** @type {Set<LoraEditor>} those of nodes that are gone, which a page beside the graph may still show */
    this.gone = new Set();
    /** @type {WeakSet<LoraEditor>} those beside the graph, for a node that has another */
    this.inPanels = new WeakSet();
  }

  get #root() {
    return this.app.rootGraph ?? this.app.graph;
  }

  /** For `getCustomWidgets`: the widget of a node's own STRING. */
  make(node, name, spec) {
    const editor = this.#editorFor(node, name, () => node);
    editor.setText(spec?.[1]?.default ?? "[]");
    const widget = node.addDOMWidget(name, TYPE, editor.element, this.#optionsOf(editor));
    widget.serializeValue = () => editor.text;
    widget.createCopyForNode = (host) => this.#copyFor(widget, host);
    this.#settle(editor, node, widget);

    const { onAdded, onRemoved, onExecuted, onConnectionsChange } = node;
    // A node that is put into a subgraph is removed and added again, with the same widget.
    node.onAdded = (...args) => {
      this.#settle(editor, node, widget);
      editor.watch();
      return onAdded?.apply(node, args);
    };
    node.onRemoved = (...args) => {
      this.#forget(editor);
      return onRemoved?.apply(node, args);
    };
    node.onExecuted = (output, ...args) => {
      const ran = output?.air_lora?.[0];
      for (const [model, blocks] of Object.entries(ran?.strengths ?? {})) this.knowledge.strengths.set(model, blocks);
      if (typeof ran?.lora === "string")
        for (const each of this.#shownFor(node, name)) each.setRan(ran.lora, ran.report);
      return onExecuted?.call(node, output, ...args);
    };
    node.onConnectionsChange = (...args) => {
      queueMicrotask(() => editor.render());
      return onConnectionsChange?.apply(node, args);
    };
    return { widget, minWidth: LEAST_WIDTH, minHeight: LEAST_HEIGHT };
  }

  /** For `nodeCreated`: a subgraph node of a newer front end shows our rows when an input of it is promoted. */
  adopt(host) {
    if (
      !host.subgraph ||
      typeof host.createPromotedHostWidget !== "function" ||
      typeof host._projectPromotedWidget !== "function"
    )
      return;
    const usual = host.createPromotedHostWidget;
    host.createPromotedHostWidget = (input, id, source) =>
      (source?.type === TYPE ? this.#promoted(host, input, source) : undefined) ?? usual.call(host, input, id, source);
    const { onAdded } = host;
    host.onAdded = (...args) => {
      const answer = onAdded?.apply(host, args);
      queueMicrotask(() => this.#complete(host));
      return answer;
    };
  }

  /** A subgraph node that came back without its rows (moved into another subgraph) gets them again. */
  #complete(host) {
    const lacks = (input) => input.widgetId && !input._widget?.element && this.ofNode.has(innermost(host, input.name));
    if (host.graph && (host.inputs ?? []).some(lacks)) host.rebuildInputWidgetBindings?.();
  }

  /** Text that names LoRAs, pasted while one of our nodes is selected and no text is edited, is for its rows. */
  async pasteOnNode(event) {
    if (document.activeElement?.closest("input, textarea, [contenteditable=true], .air-lora, .air-lora-dialog")) return;
    const [node, ...others] = Object.values(this.app.canvas?.selected_nodes ?? {});
    const editor = node && !others.length ? this.ofNode.get(node) : null;
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!editor || editor.readOnly || !namesLoras(text)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const reason = await editor.addText(text);
    if (reason !== null) this.toast("warn", t("addLora"), reason);
  }

  /** Marks in the rows of a node, and of the subgraph nodes that show them, what the last run could not use. */
  setFailures(node, failures) {
    const editor = this.ofNode.get(node);
    const name = editor && this.#placeOf(editor)?.widget.name;
    const said = this.#shownFor(node, name).map((each) => each.setFailures(failures));
    return said[0] ?? failures.map(() => null);
  }

  /** Looks after what no event tells: rows of nodes that are gone, and those that Nodes 2.0 draws no more. */
  check() {
    for (const editor of [...this.editors]) {
      const { node, widget } = this.#placeOf(editor);
      // A subgraph node that undo took away still says that it lies in the graph, where another has its number by now.
      const isThere = node.graph && node.graph.getNodeById?.(node.id) === node && (node.widgets ?? []).includes(widget);
      const isShut = this.inPanels.has(editor) && !editor.element.isConnected;
      if (!isThere || isShut) this.#forget(editor);
    }
    for (const editor of this.gone) this.#replace(editor);
    const inNodes = [...this.editors].filter((editor) => !this.inPanels.has(editor));
    if (globalThis.LiteGraph?.vueNodesMode)
      putRowsInPlace(inNodes, (editor) => this.#placeOf(editor).node, this.app.canvas?.graph);
  }

  /** All that the rows depend on outside of themselves: rows are drawn anew when it changes. */
  state() {
    return [...this.editors].map(({ host, readOnly }) => [
      host.checkpoint(),
      readOnly,
      host.isMeasured(),
      host.outside(),
    ]);
  }

  renderAll() {
    for (const editor of this.editors) editor.render();
  }

  // ------------------------------------------------------------------------------------------------- inside

  /** The widget of a subgraph node in a newer front end. The text lies where that keeps the values of promoted inputs. */
  #promoted(host, input, source) {
    // Nodes that are being copied have no place yet, and are thrown away.
    if (host.graph?.getNodeById?.(host.id) !== host) return undefined;
    const kept = host._projectPromotedWidget(input);
    input._widget = undefined;
    if (!kept || !("value" in kept)) return undefined;
    const editor = this.#editorFor(host, input.name, (name) => innermost(host, name) ?? source.node, kept);
    // Drawn as any DOM widget, listed through the input alone: it is no second widget of the node.
    const before = Object.getOwnPropertyDescriptors(host);
    host.addCustomWidget = (widget) => widget;
    const widget = host.addDOMWidget(input.name, TYPE, editor.element, this.#optionsOf(editor, kept));
    for (const key of ["addCustomWidget", "onAdded", "onRemoved", "onResize"]) {
      if (before[key]) Object.defineProperty(host, key, before[key]);
      else delete host[key];
    }
    this.#settle(editor, host, widget);
    return widget;
  }

  /** The widget of a subgraph node in an older front end. */
  #copyFor(source, host) {
    const editor = this.#editorFor(host, source.name, (name) => innermost(host, name) ?? source.node);
    editor.element.classList.add("air-lora-copied");
    const widget = new source.constructor({
      node: host,
      name: source.name,
      type: TYPE,
      element: editor.element,
      options: this.#optionsOf(editor),
    });
    widget.createCopyForNode = (outer) => this.#copyFor(widget, outer);
    widget.value = source.value;
    widget.y = source.y;
    this.#settle(editor, host, widget);
    return widget;
  }

  #optionsOf(editor, /** @type {any} */ kept = null) {
    return {
      getValue: () => (kept ? String(kept.value ?? "") : editor.text),
      setValue: (text) => {
        if (kept) kept.value = text;
        editor.setText(text);
        for (const each of this.editors) if (this.inPanels.has(each)) each.render();
      },
      getMinHeight: () => editor.wantedHeight(),
      hideOnZoom: false,
      selectOn: [],
    };
  }

  /** @returns {Place} */
  #placeOf(/** @type {LoraEditor} */ editor) {
    const place = this.places.get(editor);
    if (!place) throw new Error("rows that no node shows");
    return place;
  }

  /** @param {(name: string) => any} source the node whose text it is: the node itself, or one inside the subgraph */
  #editorFor(node, name, source, /** @type {any} */ kept = null) {
    const { app, server, knowledge, settings, settled, toast } = this;
    /** @type {Place} */
    const place = { node, widget: null, editor: null, graphId: node.graph?.id };
    const nameOfInput = () => place.widget?.name ?? name;
    const outer = () => (node.graph ? outermost(node, nameOfInput(), this.#root) : null);
    const host = {
      commit: (text) => {
        place.widget.value = text;
        const counts = outer();
        if (counts) counts.widget.value = text;
        node.graph?.setDirtyCanvas?.(true, true);
      },
      outside: () => {
        const said = (outer()?.widget ?? kept)?.value;
        return typeof said === "string" ? said : null;
      },
      settled,
      checkpoint: () => {
        const inner = node.graph ? source(nameOfInput()) : null;
        return inner?.graph ? checkpointAbove(inner, this.#root) : null;
      },
      isWired: () => {
        const input = node.inputs?.find((each) => each.name === nameOfInput());
        return input ? hostInputOf(node, input, this.#root) === "wired" : false;
      },
      ran: () => this.#ranOf(node.graph ? source(nameOfInput()) : null),
      settings,
      appendToPrompt: (words) => {
        const prompt = promptWidgetNear(source(nameOfInput()), this.#root);
        if (!prompt) return null;
        const { text, added } = appended(String(prompt.value ?? ""), words);
        if (added.length) {
          prompt.value = text;
          settled();
        }
        return added;
      },
      interrupt: this.interrupt,
      openSetting: this.openSetting,
      pan: (event) => {
        if (globalThis.LiteGraph?.vueNodesMode) return; // the page does it itself
        event.stopPropagation();
        event.preventDefault();
        panWith(app.canvas, event);
      },
      toast,
      isMeasured: () => isMeasured(place.editor?.element),
      resized: () => requestAnimationFrame(() => fit(node)),
      wheel: (event) => {
        if (!globalThis.LiteGraph?.vueNodesMode) app.canvas?.processMouseWheel?.(event);
      },
    };
    const editor = new LoraEditor({ server, knowledge, host });
    place.editor = editor;
    this.places.set(editor, place);
    return editor;
  }

  #settle(editor, node, widget) {
    keepWide(node);
    this.#placeOf(editor).graphId = node.graph?.id ?? this.#placeOf(editor).graphId;
    if (this.#placeOf(editor).widget !== widget) {
      this.#placeOf(editor).widget = widget;
      keepShown(widget);
      showInPanels(
        widget,
        () => this.app.canvas,
        () => this.#inPanel(node, widget),
      );
    }
    this.ofNode.set(node, editor);
    this.editors.add(editor);
    queueMicrotask(() => {
      editor.render();
      fit(node);
    });
    requestAnimationFrame(() => this.check());
    // Nodes 2.0 measures a new node a moment later, and gives it its own size.
    if (node.subgraph) setTimeout(() => fit(node), 300);
  }

  /** Rows beside the graph, of a widget that has its own in the node. */
  #inPanel(node, widget) {
    const editor = this.#editorFor(node, widget.name, (name) => (node.subgraph ? innermost(node, name) : node), widget);
    Object.assign(editor.host, { isMeasured: () => true, pan: () => {}, wheel: () => {}, resized: () => {} });
    this.#placeOf(editor).widget = widget;
    this.editors.add(editor);
    this.inPanels.add(editor);
    editor.render();
    return editor.element;
  }

  /** What ComfyUI keeps of the last run, also for nodes that undo or another tab of the page made anew. */
  #ranOf(node) {
    if (!node?.graph) return null;
    const id = node.graph === this.#root ? String(node.id) : `${node.graph.id}:${node.id}`;
    const text = this.app.nodeOutputs?.[id]?.air_lora?.[0]?.lora;
    return typeof text === "string" ? text : null;
  }

  #forget(editor) {
    this.editors.delete(editor);
    editor.dispose();
    if (editor.element.isConnected) this.gone.add(editor);
  }

  /** Undo recreates every node; app mode and the right panel keep showing the elements of the old ones. */
  #replace(editor) {
    const { element } = editor;
    if (!element.isConnected || element.closest(".dom-widget, [data-node-id]") || this.editors.has(editor)) {
      this.gone.delete(editor);
      return;
    }
    const { node, widget, graphId } = this.#placeOf(editor);
    const isHeir = (/** @type {LoraEditor} */ each) => {
      const place = this.#placeOf(each);
      return (
        !this.inPanels.has(each) &&
        place.node !== node &&
        String(place.node.id) === String(node.id) &&
        place.node.graph?.id === graphId &&
        place.widget.name === widget.name
      );
    };
    const heir = [...this.editors].find(isHeir);
    if (!heir) return;
    this.gone.delete(editor);
    if (this.inPanels.has(editor)) {
      const made = this.#inPanel(this.#placeOf(heir).node, this.#placeOf(heir).widget);
      made.classList.add("air-lora-in-panel");
      element.replaceWith(made);
    } else element.replaceWith(heir.element);
    heir.render();
  }

  /** The rows of this node, and those of panels and of subgraph nodes that show them. */
  #shownFor(node, name) {
    const own = this.ofNode.get(node);
    const others = [...this.editors].filter((each) => {
      const place = this.#placeOf(each);
      if (each === own) return false;
      return place.node === node || (place.node.subgraph && innermost(place.node, place.widget.name) === node);
    });
    return name && own ? [own, ...others] : [];
  }
}

/** ComfyUI dims or hides a widget whose text comes over a wire. Rows stay: they show what ran last, and let nothing be changed. */
function keepShown(widget) {
  for (const name of ["computedDisabled", "connectionSuppressed"]) {
    Object.defineProperty(widget, name, { configurable: true, get: () => false, set: () => {} });
  }
}

/** Whether the page asks the element for its height, as Nodes 2.0 and app mode do. The canvas renderer asks the widget. */
function isMeasured(element) {
  return (
    Boolean(globalThis.LiteGraph?.vueNodesMode) || Boolean(element?.isConnected && !element.closest(".dom-widget"))
  );
}

/** @type {WeakSet<object>} nodes that can't be made narrower than their rows */
const kept = new WeakSet();

function keepWide(node) {
  if (kept.has(node)) return;
  kept.add(node);
  const { computeSize } = node;
  node.computeSize = (...args) => {
    const size = computeSize.apply(node, args);
    size[0] = Math.max(size[0], NARROWEST);
    return size;
  };
}

/** Heights that nodes got from their rows, not from the user. @type {WeakMap<object, number>} */
const fitted = new WeakMap();

/** The node grows and shrinks with its rows; what the user made larger stays as large. */
function fit(node) {
  if (!node.graph) return;
  const [width, height] = node.computeSize();
  const isOurs = Math.abs(node.size[1] - (fitted.get(node) ?? Number.NaN)) < 1;
  // A node that never had rows gets room for them; what somebody has made narrower stays so.
  const least =
    node.size[0] < NARROWEST && !fitted.has(node) ? LEAST_WIDTH : Math.max(NARROWEST, Math.min(width, LEAST_WIDTH));
  if (node.size[0] < least || node.size[1] < height || (isOurs && node.size[1] > height)) {
    node.setSize([Math.max(node.size[0], least), isOurs ? height : Math.max(node.size[1], height)]);
  }
  if (node.size[1] <= height + 1) fitted.set(node, node.size[1]);
  node.graph.setDirtyCanvas?.(true, true);
}

/** Drags the canvas until the button is let go, as ComfyUI's own text fields do. */
function panWith(canvas, event) {
  canvas?.processMouseDown?.(event);
  const move = (moved) => canvas?.processMouseMove?.(moved);
  const up = (ended) => {
    removeEventListener("pointermove", move, true);
    removeEventListener("pointerup", up, true);
    canvas?.processMouseUp?.(ended);
  };
  addEventListener("pointermove", move, true);
  addEventListener("pointerup", up, true);
}
