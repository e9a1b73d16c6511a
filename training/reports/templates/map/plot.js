"use strict";
// The scatter plot: draws points, pans and zooms, finds the point under the pointer.

// Okabe and Ito, "Color Universal Design" (2008), without yellow, which is invisible on white; the
// last is the text colour. Seven colours and five shapes give 35 distinct marks.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "ink"];
const SHAPES = ["circle", "square", "triangle", "diamond", "cross"];
const STYLES = COLOURS.length * SHAPES.length;
const HIT_PIXELS = 14;
const MAX_ZOOM = 60;

function ink() {
  return getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
}

/** Draw the mark of a style (-1: grey) around (x, y). */
function drawMark(g, style, x, y, r) {
  const colour = style < 0 ? "#8b929c" : COLOURS[style % COLOURS.length];
  g.fillStyle = colour === "ink" ? g.inkColour : colour;
  g.beginPath();
  switch (style < 0 ? "circle" : SHAPES[style % SHAPES.length]) {
    case "circle": g.arc(x, y, r, 0, 7); break;
    case "square": g.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r); break;
    case "triangle": g.moveTo(x, y - 1.2 * r); g.lineTo(x + 1.15 * r, y + 0.85 * r); g.lineTo(x - 1.15 * r, y + 0.85 * r); break;
    case "diamond": g.moveTo(x, y - 1.35 * r); g.lineTo(x + 1.35 * r, y); g.lineTo(x, y + 1.35 * r); g.lineTo(x - 1.35 * r, y); break;
    case "cross": g.rect(x - 1.25 * r, y - 0.45 * r, 2.5 * r, 0.9 * r); g.rect(x - 0.45 * r, y - 1.25 * r, 0.9 * r, 2.5 * r); break;
  }
  g.fill();
}

/**
 * A scatter plot on a canvas. points() returns {x, y, style, shown, current}: coordinates from 0 to
 * 1, style and visibility of each point, and the index of the highlighted one. on.hover and on.pick
 * are called with the index of a point (or -1) and the pointer position.
 */
function makePlot(canvas, points, on) {
  const g = canvas.getContext("2d");
  const view = { scale: 1, x: 0.5, y: 0.5 }; // zoom and centre
  const held = new Map(); // position of each pressed pointer
  let moved = false, spread = 0, asked = false;

  const size = () => [canvas.clientWidth, canvas.clientHeight];
  const unit = () => Math.min(...size()) * 0.92 * view.scale;
  const toScreen = (x, y) => {
    const [width, height] = size();
    return [width / 2 + (x - view.x) * unit(), height / 2 + (y - view.y) * unit()];
  };

  function draw() {
    asked = false;
    const [width, height] = size(), ratio = window.devicePixelRatio || 1;
    const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    g.inkColour = ink();
    const { x, y, style, shown, current } = points();
    const r = Math.max(2.2, Math.min(5.5, 180 / Math.sqrt(x.length + 500))) * Math.min(1.8, view.scale ** 0.35);
    for (const pass of [false, true]) {
      g.globalAlpha = pass ? 0.82 : 0.13;
      for (let i = 0; i < x.length; i++) {
        if (Boolean(shown[i]) !== pass) continue;
        const [sx, sy] = toScreen(x[i], y[i]);
        if (sx > -9 && sy > -9 && sx < width + 9 && sy < height + 9) drawMark(g, pass ? style[i] : -1, sx, sy, pass ? r : 0.7 * r);
      }
    }
    g.globalAlpha = 1;
    if (current >= 0) {
      const [sx, sy] = toScreen(x[current], y[current]);
      drawMark(g, style[current], sx, sy, 1.5 * r);
      g.lineWidth = 2.5;
      g.strokeStyle = g.inkColour;
      g.beginPath();
      g.arc(sx, sy, 1.5 * r + 5, 0, 7);
      g.stroke();
    }
  }

  function redraw() {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  }

  /** The point nearest to a screen position, or -1 if none is near enough. */
  function nearest(px, py, within = HIT_PIXELS) {
    const { x, y, shown } = points();
    let best = -1, least = within * within;
    for (let i = 0; i < x.length; i++) {
      if (!shown[i]) continue;
      const [sx, sy] = toScreen(x[i], y[i]);
      const distance = (sx - px) ** 2 + (sy - py) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  /** The next point from one in a direction; sideways distance costs double. */
  function towards(from, dx, dy) {
    const { x, y, shown } = points();
    if (from < 0) return nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity);
    let best = from, least = Infinity;
    for (let i = 0; i < x.length; i++) {
      const ahead = (x[i] - x[from]) * dx + (y[i] - y[from]) * dy;
      const aside = Math.abs((x[i] - x[from]) * dy - (y[i] - y[from]) * dx);
      if (!shown[i] || i === from || ahead <= 0 || aside > 2 * ahead) continue;
      const cost = ahead + 2 * aside;
      if (cost < least) [best, least] = [i, cost];
    }
    return best;
  }

  function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
    const before = unit();
    view.scale = Math.max(0.5, Math.min(MAX_ZOOM, view.scale * factor));
    const [width, height] = size();
    view.x += (px - width / 2) * (1 / before - 1 / unit()); // the point under the pointer stays fixed
    view.y += (py - height / 2) * (1 / before - 1 / unit());
    redraw();
  }

  function centre(i, scale) {
    const { x, y } = points();
    Object.assign(view, { x: x[i], y: y[i], scale: Math.max(view.scale, scale) });
    redraw();
  }

  function reveal(i) {
    const { x, y } = points();
    const [sx, sy] = toScreen(x[i], y[i]), [width, height] = size();
    if (sx < 20 || sy < 20 || sx > width - 20 || sy > height - 20) Object.assign(view, { x: x[i], y: y[i] });
    redraw();
  }

  function fit() {
    Object.assign(view, { scale: 1, x: 0.5, y: 0.5 });
    redraw();
  }

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const apart = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    moved = held.size > 1;
    if (held.size === 2) spread = apart();
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = place(event), last = held.get(event.pointerId);
    if (!last) {
      on.hover(nearest(px, py), px, py);
      return;
    }
    if (Math.hypot(px - last[0], py - last[1]) < 3 && !moved) return;
    moved = true;
    held.set(event.pointerId, [px, py]);
    view.x -= (px - last[0]) / unit() / held.size;
    view.y -= (py - last[1]) / unit() / held.size;
    if (held.size === 2) {
      const [a, b] = [...held.values()], now = apart();
      zoom(now / (spread || now), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      spread = now;
    }
    redraw();
  });
  const release = (event) => {
    if (held.delete(event.pointerId) && !moved && event.type === "pointerup") {
      const [px, py] = place(event);
      on.pick(nearest(px, py, event.pointerType === "touch" ? 2 * HIT_PIXELS : HIT_PIXELS), px, py);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => on.hover(-1, 0, 0));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
  }, { passive: false });
  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  return { redraw, zoom, fit, centre, reveal, towards, toScreen };
}
