// Draws a timeline's canvases. All have a dark ground, in light and dark mode.
import { timeText } from "./time_text.js";

const WAVE_COLOR = "#4fc3b8", TICK_COLOR = "#5f7a74", TEXT_COLOR = "#c9d8d4";
const STEPS_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const LEAST_PIXELS_BETWEEN_TIMES = 64;
const GOLDEN_ANGLE = 137.508;

/** Hue of a label, far from those of its neighbours. */
export const labelHue = (label, labels) => Math.round((160 + GOLDEN_ANGLE * Math.max(0, labels.indexOf(label))) % 360);

/** Fit a canvas to its place in the page; returns its context, in pixels of the page. */
export function fitCanvas(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas.parentElement;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Draw the waveform of a stretch in the upper `share` of a canvas. */
export function drawPeaks(canvas, peaks, rateHz, start, end, share = 1) {
  const { context, width, height } = fitCanvas(canvas);
  const columns = Math.max(1, Math.round(width));
  const pairs = peaks.columns(start * rateHz, end * rateHz, columns);
  const middle = (height * share) / 2;
  context.fillStyle = WAVE_COLOR;
  for (let column = 0; column < columns; column++) {
    const top = middle * (1 - pairs[2 * column + 1]), bottom = middle * (1 - pairs[2 * column]);
    context.fillRect(column, top, 1, Math.max(1, bottom - top));
  }
}

/** Draw the events as ticks, in the lower `share` of a canvas. */
export function drawTicks(context, events, hueOf, toPixels, height, share) {
  for (const event of events) {
    const left = toPixels(event.start), right = toPixels(event.end);
    context.fillStyle = `hsl(${hueOf(event)} 60% 58%)`;
    context.fillRect(left, height * (1 - share), Math.max(1, right - left), height * share);
  }
}

/** Draw a time axis for a view. */
export function drawAxis(canvas, view) {
  const { context, width } = fitCanvas(canvas);
  const least = (LEAST_PIXELS_BETWEEN_TIMES / width) * view.span;
  const step = STEPS_SECONDS.find((seconds) => seconds >= least) ?? STEPS_SECONDS.at(-1);
  context.fillStyle = TICK_COLOR;
  context.font = "11px system-ui, sans-serif";
  for (let n = Math.ceil(view.start / step); n * step <= view.end; n++) {
    const x = view.toPixels(n * step), text = timeText(n * step, step < 1 ? 1 : 0);
    context.fillStyle = TICK_COLOR;
    context.fillRect(x, 0, 1, 5);
    context.fillStyle = TEXT_COLOR;
    const left = Math.max(2, Math.min(width - context.measureText(text).width - 2, x - context.measureText(text).width / 2));
    context.fillText(text, left, 16);
  }
}
