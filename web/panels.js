/**
 * Rows in panels beside the graph: the front end's right panel (*Parameters*), and others that draw single widgets.
 *
 * Such a panel doesn't support DOM widgets. It gives each widget a canvas to draw on, and sets the panel's width on the
 * widget, where the canvas renderer would use it as the width of the rows in the node. So the width is ignored, and
 * separate rows replace that canvas.
 */

/**
 * @param {any} widget
 * @param {() => any} graphCanvas ComfyUI's own canvas
 * @param {() => HTMLElement} rowsFor makes rows that show this widget's text
 */
export function showInPanels(widget, graphCanvas, rowsFor) {
  const { draw } = widget;
  /** @type {WeakSet<HTMLCanvasElement>} */
  const covered = new WeakSet();
  Object.defineProperty(widget, "width", { configurable: true, get: () => undefined, set: () => {} });
  widget.draw = function drawOrCover(context, ...rest) {
    const panel = context?.canvas;
    const { canvas, bgcanvas } = graphCanvas() ?? {};
    if (!panel?.isConnected || panel === canvas || panel === bgcanvas) {
      draw?.call(this, context, ...rest);
    } else if (!covered.has(panel)) {
      covered.add(panel);
      cover(panel, rowsFor());
    }
  };
}

function cover(canvas, rows) {
  canvas.style.display = "none"; // its clicks would go to the node's widget
  rows.classList.add("air-lora-in-panel");
  canvas.parentElement.append(rows);
}
