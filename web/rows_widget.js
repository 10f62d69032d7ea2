/**
 * The rows as a widget: on the node that has the text, and on each subgraph node to which it is promoted.
 *
 * Every node has its own editor and its own element. ComfyUI's releases handle promoted widgets differently: older ones
 * copy the widget (`createCopyForNode`), newer ones request one from the subgraph node (`createPromotedHostWidget`).
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
/** The minimum width for names and weights; see the style sheet. */
const NARROWEST = 300;
const LEAST_HEIGHT = 160;

/** @typedef {{node: any, widget: any, editor: LoraEditor | null, graphId: any}} Place */

export class RowsWidgets {
  /** @param {{app: any, server: any, knowledge: any, settings: () => any, toast: (severity: string, summary: string, detail?: string) => void, settled: () => void, amended: () => void, interrupt: () => void, openSetting: (id: string) => void}} parts */
  constructor({ app, server, knowledge, settings, toast, settled, amended, interrupt, openSetting }) {
    this.app = app;
    this.server = server;
    this.knowledge = knowledge;
    this.settings = settings;
    this.toast = toast;
    this.settled = settled;
    this.amended = amended;
    this.interrupt = interrupt;
    this.openSetting = openSetting;
    /** @type {Set<LoraEditor>} editors of nodes that are in a graph */
    this.editors = new Set();
    /** The node and the widget that show an editor's rows. @type {WeakMap<LoraEditor, Place>} */
    this.places = new WeakMap();
    /** @type {WeakMap<object, LoraEditor>} the rows of each node */
    this.ofNode = new WeakMap();
    /** @type {Set<LoraEditor>} editors of removed nodes, which the page may still show beside the graph */
    this.gone = new Set();
    /** @type {WeakSet<LoraEditor>} additional editors in panels beside the graph */
    this.inPanels = new WeakSet();
  }

  get #root() {
    return this.app.rootGraph ?? this.app.graph;
  }

  /** For `getCustomWidgets`: the widget for a node's own STRING. */
  make(node, name, spec) {
    const editor = this.#editorFor(node, name, () => node);
    editor.setText(spec?.[1]?.default ?? "[]");
    const widget = node.addDOMWidget(name, TYPE, editor.element, this.#optionsOf(editor));
    widget.serializeValue = () => editor.text;
    widget.createCopyForNode = (host) => this.#copyFor(widget, host);
    this.#settle(editor, node, widget);

    const { onAdded, onRemoved, onExecuted, onConnectionsChange } = node;
    // A node that is moved into a subgraph is removed and added again, with the same widget.
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
      const ran = output?.air_lora?.at(-1); // of a sweep, the last image's
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

  /** For `nodeCreated`: makes a subgraph node of a newer front end show our rows for a promoted input. */
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

  /** Restores the rows of a subgraph node that was added again without them (moved into another subgraph). */
  #complete(host) {
    const lacks = (input) => input.widgetId && !input._widget?.element && this.ofNode.has(innermost(host, input.name));
    if (host.graph && (host.inputs ?? []).some(lacks)) host.rebuildInputWidgetBindings?.();
  }

  /** Adds pasted text that names LoRAs to the rows of the selected node, unless the user edits a text. */
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

  /** Marks the rows that the last run couldn't use, in a node and in the subgraph nodes that show its rows. */
  setFailures(node, failures) {
    const editor = this.ofNode.get(node);
    const name = editor && this.#placeOf(editor)?.widget.name;
    const said = this.#shownFor(node, name).map((each) => each.setFailures(failures));
    return said[0] ?? failures.map(() => null);
  }

  /** Handles changes without events: rows of removed nodes, and rows that Nodes 2.0 no longer draws. */
  check() {
    for (const editor of [...this.editors]) {
      const { node, widget } = this.#placeOf(editor);
      // A subgraph node that undo removed still has its `graph`, but another node has its ID there by now.
      const isThere = node.graph && node.graph.getNodeById?.(node.id) === node && (node.widgets ?? []).includes(widget);
      const isShut = this.inPanels.has(editor) && !editor.element.isConnected;
      if (!isThere || isShut) this.#forget(editor);
    }
    for (const editor of this.gone) this.#replace(editor);
    const inNodes = [...this.editors].filter((editor) => !this.inPanels.has(editor));
    if (globalThis.LiteGraph?.vueNodesMode)
      putRowsInPlace(inNodes, (editor) => this.#placeOf(editor).node, this.app.canvas?.graph);
  }

  /** Everything outside the rows that they depend on. When it changes, they are rendered again. */
  state() {
    return [...this.editors].map(({ host, readOnly }) => [
      host.checkpoint(),
      readOnly,
      host.isMeasured(),
      host.outside(),
      host.settings(),
    ]);
  }

  renderAll() {
    for (const editor of this.editors) editor.render();
  }

  // ------------------------------------------------------------------------------------------------- inside

  /** The widget of a subgraph node in a newer front end, which stores the text with the values of promoted inputs. */
  #promoted(host, input, source) {
    // Temporary nodes during a copy aren't in a graph, and are discarded.
    if (host.graph?.getNodeById?.(host.id) !== host) return undefined;
    const kept = host._projectPromotedWidget(input);
    input._widget = undefined;
    if (!kept || !("value" in kept)) return undefined;
    const editor = this.#editorFor(host, input.name, (name) => innermost(host, name) ?? source.node, kept);
    // Drawn like any DOM widget, but listed only through the input: it isn't a second widget of the node.
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

  /** @param {(name: string) => any} source returns the node that the text belongs to: `node`, or one in its subgraph */
  #editorFor(node, name, source, /** @type {any} */ kept = null) {
    const { app, server, knowledge, settings, settled, amended, toast } = this;
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
      amended,
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
        if (globalThis.LiteGraph?.vueNodesMode) return; // then the page does it
        event.stopPropagation();
        event.preventDefault();
        panWith(app.canvas, event);
      },
      toast,
      isMeasured: () => isMeasured(place.editor?.element),
      resized: (isEdit = false) =>
        requestAnimationFrame(() => {
          const height = node.size[1];
          fit(node);
          if (isEdit && node.graph && node.size[1] !== height) amended();
        }),
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
    // Nodes 2.0 measures a new node a moment later, and then sets its size.
    if (node.subgraph) setTimeout(() => fit(node), 300);
  }

  /** Additional rows beside the graph, for a widget that also has rows in the node. */
  #inPanel(node, widget) {
    const editor = this.#editorFor(node, widget.name, (name) => (node.subgraph ? innermost(node, name) : node), widget);
    Object.assign(editor.host, { isMeasured: () => true, pan: () => {}, wheel: () => {}, resized: () => {} });
    this.#placeOf(editor).widget = widget;
    this.editors.add(editor);
    this.inPanels.add(editor);
    editor.render();
    return editor.element;
  }

  /** The text of the last run, which ComfyUI also keeps for nodes that undo or another workflow tab recreated. */
  #ranOf(node) {
    if (!node?.graph) return null;
    const id = node.graph === this.#root ? String(node.id) : `${node.graph.id}:${node.id}`;
    const text = this.app.nodeOutputs?.[id]?.air_lora?.at(-1)?.lora;
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

  /** The rows of this node, and the rows in panels and subgraph nodes that show the same text. */
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

/** ComfyUI dims or hides a widget whose text comes from a link. Rows stay visible, and show the last run read-only. */
function keepShown(widget) {
  for (const name of ["computedDisabled", "connectionSuppressed"]) {
    Object.defineProperty(widget, name, { configurable: true, get: () => false, set: () => {} });
  }
}

/** Whether the page measures the element's height, like Nodes 2.0 and app mode. The canvas renderer asks the widget. */
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

/** Node → the height that it got from its rows, not from the user. @type {WeakMap<object, number>} */
const fitted = new WeakMap();

/** Resizes the node with its rows. If the user has made it larger, it keeps that height. */
function fit(node) {
  if (!node.graph) return;
  const [width, height] = node.computeSize();
  const isOurs = Math.abs(node.size[1] - (fitted.get(node) ?? Number.NaN)) < 1;
  // A node that never had rows gets room for them. A node that the user made narrower stays narrow.
  const least =
    node.size[0] < NARROWEST && !fitted.has(node) ? LEAST_WIDTH : Math.max(NARROWEST, Math.min(width, LEAST_WIDTH));
  if (node.size[0] < least || node.size[1] < height || (isOurs && node.size[1] > height)) {
    node.setSize([Math.max(node.size[0], least), isOurs ? height : Math.max(node.size[1], height)]);
  }
  if (node.size[1] <= height + 1) fitted.set(node, node.size[1]);
  node.graph.setDirtyCanvas?.(true, true);
}

/** Drags the canvas until the button is released, like ComfyUI's own text fields. */
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
