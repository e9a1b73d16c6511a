// Mouse, touch and wheel on a timeline: drag to pan, pinch or Ctrl and wheel to zoom, click.

const DRAG_PIXELS = 4;
const WHEEL_ZOOM = 0.002; // per pixel that the wheel reports

/**
 * `view` is changed, then `changed` is called; `clicked` gets the click event.
 * A drag upwards or downwards scrolls the page (touch-action in the style sheet).
 */
export function addGestures(plots, view, changed, clicked) {
  const pointers = new Map(); // id -> x of each finger or button that is down
  let moved = false;
  const x = (event) => event.clientX - plots.getBoundingClientRect().left;

  plots.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (!pointers.size) moved = false;
    pointers.set(event.pointerId, x(event));
  });
  plots.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (before === undefined) return;
    const now = x(event);
    if (!moved && pointers.size === 1 && Math.abs(now - before) < DRAG_PIXELS) return;
    moved = true;
    plots.setPointerCapture(event.pointerId);
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, position]) => position);
    const middle = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
    const from = middle([...others, before]), to = middle([...others, now]);
    view.moveTo(view.start - ((to - from) / view.width) * view.span);
    if (others.length) view.zoom(Math.abs(now - others[0]) / Math.max(1, Math.abs(before - others[0])), view.toSeconds(to));
    pointers.set(event.pointerId, now);
    changed();
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    plots.addEventListener(name, (event) => {
      if (name !== "pointerleave" || !plots.hasPointerCapture(event.pointerId)) pointers.delete(event.pointerId);
    });
  }
  plots.addEventListener("click", (event) => {
    if (!moved) clicked(event, x(event));
  });
  plots.addEventListener("wheel", (event) => {
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) view.zoom(Math.exp(-event.deltaY * WHEEL_ZOOM), view.toSeconds(x(event)));
    else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) view.moveTo(view.start + (sideways / view.width) * view.span);
    else return; // the page scrolls
    event.preventDefault();
    changed();
  }, { passive: false });
}
