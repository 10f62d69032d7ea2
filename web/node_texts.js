/**
 * Inserts the pack's texts in the page's language if the front end doesn't: 1.32 loses the texts of packs when it loads
 * a language, and no release supports every language of the pack. Only sets the texts that the front end falls back to,
 * so its own translations take precedence.
 */

const OURS = "AirLora";

/**
 * For `addCustomNodeDefs`: titles, names and hints of our nodes.
 * @param {Record<string, any>} definitions of all nodes, by id
 * @param {Record<string, any>} [texts] `nodeDefs` of one language
 */
export function translateDefinitions(definitions, texts = {}) {
  for (const [id, definition] of Object.entries(definitions)) {
    const said = id.startsWith(OURS) ? texts[id] : null;
    if (!said) continue;
    definition.display_name = said.display_name ?? definition.display_name;
    definition.description = said.description ?? definition.description;
    for (const inputs of Object.values(definition.input ?? {})) {
      for (const [name, spec] of Object.entries(inputs ?? {})) {
        const { name: shown, tooltip } = said.inputs?.[name] ?? {};
        if (Array.isArray(spec))
          spec[1] = { ...spec[1], ...(shown && { display_name: shown }), ...(tooltip && { tooltip }) };
      }
    }
    if (definition.output_tooltips) {
      definition.output_tooltips = definition.output_tooltips.map(
        (tooltip, index) => said.outputs?.[index]?.tooltip ?? tooltip,
      );
    }
  }
}

/** For `nodeCreated`: sockets and widgets that still show their internal names. */
export function translateNode(node, texts = {}) {
  const said = String(node.comfyClass ?? "").startsWith(OURS) ? texts[node.comfyClass] : null;
  if (!said) return;
  const isBare = (shown, name) => !shown || shown === name;
  for (const input of node.inputs ?? []) {
    const text = said.inputs?.[input.name]?.name;
    if (text && isBare(input.localized_name, input.name)) input.localized_name = text;
  }
  (node.outputs ?? []).forEach((output, index) => {
    const text = said.outputs?.[index]?.name;
    if (text && isBare(output.localized_name, output.name)) output.localized_name = text;
  });
  for (const widget of node.widgets ?? []) {
    const text = said.inputs?.[widget.name]?.name;
    if (text && isBare(widget.label, widget.name)) widget.label = text;
  }
}

/** Names and hints of our settings. `settings` are the objects that were passed to `registerExtension`. */
export function translateSettings(settings, texts = {}) {
  for (const setting of settings) {
    const said = texts[setting.id.replaceAll(".", "_")];
    if (!said) continue;
    setting.name = said.name ?? setting.name;
    setting.tooltip = said.tooltip ?? setting.tooltip;
    for (const option of setting.options ?? []) option.text = said.options?.[option.text] ?? option.text;
  }
}
