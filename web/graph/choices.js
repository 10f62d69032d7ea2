/** Which of its inputs a node passes on: muted and bypassed nodes, switches, contexts and merges. Pure. */

import { linkOf, nodeOf } from "./links.js";

const MUTED = 2;
const BYPASSED = 4;

/** Only the run itself can determine it. */
export const UNKNOWN = Symbol("unknown");

const either = (yes, no) => (value) => (value ? yes : no);
/** Nodes that pass on one input, chosen by a widget: the widget, and the input for each of its values. */
const SWITCHES = {
  ComfySwitchNode: ["switch", either("on_true", "on_false")],
  ComfySoftSwitchNode: ["switch", either("on_true", "on_false")],
  "CR Model Input Switch": ["Input", (value) => `model${value}`],
  "CR Model Input Switch (4 way)": ["Input", (value) => `model${value}`],
  ImpactSwitch: ["select", (value) => `input${value}`],
  ImpactConditionalBranch: ["cond", either("tt_value", "ff_value")],
  LazySwitchKJ: ["switch", either("on_true", "on_false")],
  "Model Input Switch": ["boolean", either("model_a", "model_b")],
  "Switch any [Crystools]": ["boolean", either("on_true", "on_false")],
  "easy anythingIndexSwitch": ["index", (value) => `value${value}`],
  "easy ifElse": ["boolean", either("on_true", "on_false")],
};
/** Nodes that pass on the first connected input. */
const FIRST_OF = new Set(["Any Switch (rgthree)", "Context Switch (rgthree)", "Context Switch Big (rgthree)"]);
const HOLDS_MODELS = /CONTEXT|PIPE/i;

export const classOf = (node) => String(node.comfyClass ?? node.type ?? "");
export const isMuted = (node) => node.mode === MUTED;
export const isBypassed = (node) => node.mode === BYPASSED;

/**
 * @returns {{slots: number[], isFirst: boolean} | typeof UNKNOWN} the inputs that may have the model; `isFirst`: the
 *   first that has one counts
 */
export function slotsOfModel(node, outputSlot) {
  const inputs = node.inputs ?? [];
  const slots = (test) => inputs.flatMap((input, slot) => (test(input) ? [slot] : []));
  if (isBypassed(node)) {
    const wanted = node.outputs?.[outputSlot]?.type ?? "MODEL";
    const same = slots((input) => input.type === wanted);
    return { slots: same.includes(outputSlot) ? [outputSlot] : same.slice(0, 1), isFirst: false };
  }
  const type = classOf(node);
  const chooser = SWITCHES[type];
  if (chooser) {
    const value = valueOf(node, chooser[0]);
    if (value === UNKNOWN) return UNKNOWN;
    return { slots: slots((input) => input.name === chooser[1](value)), isFirst: false };
  }
  if (FIRST_OF.has(type)) return { slots: slots(() => true), isFirst: true };
  const models = slots((input) => input.type === "MODEL");
  // In a merge of two models, the second is merged into the first.
  if (models.length && /merge/i.test(type)) return { slots: models, isFirst: true };
  const contexts = slots((input) => HOLDS_MODELS.test(String(input.type)));
  // A MODEL input of a context node overrides the model in the context.
  if (models.length) return { slots: [...models, ...contexts], isFirst: contexts.length > 0 };
  if (contexts.length) return { slots: contexts, isFirst: false };
  const own = inputs.filter((input) => !input.widget);
  return { slots: slots((input) => !input.widget && (input.type === "*" || own.length === 1)), isFirst: false };
}

/** Inspire's shared loaders return what is cached under this key, whatever file they name. */
const givesKept = (node) =>
  Boolean(valueOf(node, "key_opt")) &&
  valueOf(node, "key_opt") !== UNKNOWN &&
  valueOf(node, "mode") !== "Override Cache";
const isRandom = (node) => (node.widgets ?? []).some(({ name, value }) => /random/i.test(name) && value === true);

/** Whether a loader may return another file than its widget names, which only the run determines. */
export const isNamedInVain = (node) => isRandom(node) || givesKept(node);

/** The MODEL inputs of a loader that also names a file. */
export const modelsBesideFile = (node) =>
  (node.inputs ?? []).flatMap((input, slot) => (input.type === "MODEL" ? [slot] : []));

/** A widget's value; if it has a link, the value of the primitive node at its other end. */
export function valueOf(node, name) {
  const widget = (node.widgets ?? []).find((each) => each.name === name);
  const input = (node.inputs ?? []).find((each) => each.name === name || each.widget?.name === name);
  const link = linkOf(node.graph, input?.link);
  if (!link) return widget ? widget.value : UNKNOWN;
  const origin = nodeOf(node.graph, link.origin_id);
  return origin && /^Primitive/.test(classOf(origin)) && origin.widgets?.length ? origin.widgets[0].value : UNKNOWN;
}
