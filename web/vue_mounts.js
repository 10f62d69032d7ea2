/**
 * Keeps rows in the nodes that Nodes 2.0 draws.
 *
 * Nodes 2.0 adds a widget's element to the page only once. When a node replaces another node with the same ID (undo,
 * another workflow), it would still show the rows of the old node.
 */

/**
 * @param {Iterable<{element: HTMLElement}>} editors the editors in use
 * @param {(editor: any) => any} nodeOf the node that shows an editor's rows
 * @param {any} graph the graph that is on the screen
 */
export function putRowsInPlace(editors, nodeOf, graph) {
  const live = new Set([...editors].map((editor) => editor.element));
  for (const editor of editors) {
    const node = nodeOf(editor);
    if (!graph || node.graph !== graph) continue;
    const drawn = document.querySelector(`[data-node-id="${CSS.escape(String(node.id))}"]`);
    // While app mode hides the nodes, it shows their rows itself.
    if (!(drawn instanceof HTMLElement) || drawn.contains(editor.element) || drawn.offsetParent === null) continue;
    const stale = [...drawn.querySelectorAll(".air-lora")].find(
      (element) => !live.has(/** @type {HTMLElement} */ (element)),
    );
    if (stale) stale.replaceWith(editor.element);
    else place(drawn, editor.element);
  }
}

/** Adds rows that were created after the node was drawn to their empty place in it. */
function place(drawn, element) {
  const row = drawn.querySelector('[data-widget-name="lora"]');
  const spot =
    row &&
    [...row.querySelectorAll(":scope > div:last-child div")].find(
      (each) => !each.firstChild && each.className.includes("flex-col"),
    );
  spot?.append(element);
}
