/**
 * Keeps rows where Nodes 2.0 draws them.
 *
 * It puts a widget's element into the page once. A node that takes the place of another of the same number (undo, another
 * workflow) would go on showing the rows of the one that is gone.
 */

/**
 * @param {Iterable<{element: HTMLElement}>} editors those that live
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

/** Rows that came after the node was drawn: its place is there, and empty. */
function place(drawn, element) {
  const row = drawn.querySelector('[data-widget-name="lora"]');
  const spot =
    row &&
    [...row.querySelectorAll(":scope > div:last-child div")].find(
      (each) => !each.firstChild && each.className.includes("flex-col"),
    );
  spot?.append(element);
}
