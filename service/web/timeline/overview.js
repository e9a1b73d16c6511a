// The whole recording in one strip, with the part that the timeline shows marked on it.
import { drawPeaks, drawTicks, fitCanvas } from "./draw.js";
import { timeText } from "./time_text.js";

const WAVE_SHARE = 0.72; // of the strip's height; the events are below

export class Overview {
  constructor(strip, view, events, hueOf, changed) {
    Object.assign(this, { strip, view, events, hueOf });
    this.dirty = true; // the strip's picture must be drawn again
    strip.setAttribute("aria-valuemin", 0);
    const moveTo = (start) => {
      view.moveTo(start);
      changed();
    };
    const center = (event) => {
      const { left, width } = strip.getBoundingClientRect();
      moveTo(((event.clientX - left) / width) * view.seconds - view.span / 2);
    };
    strip.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      strip.setPointerCapture(event.pointerId);
      center(event);
    });
    strip.addEventListener("pointermove", (event) => strip.hasPointerCapture(event.pointerId) && center(event));
    const targets = {
      ArrowLeft: () => view.start - view.span / 4, ArrowDown: () => view.start - view.span / 4,
      ArrowRight: () => view.start + view.span / 4, ArrowUp: () => view.start + view.span / 4,
      PageDown: () => view.start - view.span, PageUp: () => view.start + view.span,
      Home: () => 0, End: () => view.seconds,
    };
    strip.addEventListener("keydown", (event) => {
      if (!targets[event.key]) return;
      event.preventDefault();
      moveTo(targets[event.key]());
    });
  }

  draw(recording) {
    const { strip, view } = this, percent = (time) => `${(100 * time) / view.seconds}%`;
    if (this.dirty) this.drawPicture(recording);
    const shown = strip.querySelector(".shown");
    shown.style.left = `min(${percent(view.start)}, 100% - 6px)`;
    shown.style.width = percent(view.span);
    strip.setAttribute("aria-valuemax", Math.max(0, view.seconds - view.span).toFixed(1));
    strip.setAttribute("aria-valuenow", view.start.toFixed(1));
    strip.setAttribute("aria-valuetext", `${timeText(view.start)} to ${timeText(view.end)} of ${timeText(view.seconds)}`);
  }

  drawPicture(recording) {
    this.dirty = false;
    const canvas = this.strip.querySelector("canvas"), { seconds } = this.view;
    if (recording) drawPeaks(canvas, recording.peaks, recording.rateHz, 0, seconds, WAVE_SHARE);
    const { width, height } = canvas.parentElement.getBoundingClientRect();
    const context = recording ? canvas.getContext("2d") : fitCanvas(canvas).context;
    drawTicks(context, this.events, this.hueOf, (time) => (time / seconds) * width, height, recording ? 1 - WAVE_SHARE : 1);
  }

  showTime(time) {
    this.strip.querySelector(".playhead").style.left = `${(100 * time) / this.view.seconds}%`;
  }
}
