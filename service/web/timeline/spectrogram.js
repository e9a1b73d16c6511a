// The spectrogram of what a timeline shows, computed when the view has come to rest. Until then, and
// beyond it, that of the whole recording is drawn, stretched.
import { heatCanvas } from "../log_mel.js";
import { fitCanvas } from "./draw.js";

const REST_MS = 80;

export class Spectrogram {
  constructor(canvas, recording, seconds, redraw) {
    Object.assign(this, { canvas, recording, seconds, redraw });
    this.whole = this.part = null; // {start, end, values, image}
    this.topDb = -Infinity;
    this.asked = "";
  }

  draw(view) {
    const { context, width, height } = fitCanvas(this.canvas);
    context.imageSmoothingEnabled = false;
    for (const picture of [this.whole, this.part]) {
      if (!picture) continue;
      const left = view.toPixels(picture.start), right = view.toPixels(picture.end);
      if (right > 0 && left < width) context.drawImage(picture.image, left, 0, right - left, height);
    }
    const wanted = `${view.start}/${view.span}/${Math.round(width)}`;
    if (wanted === this.asked) return;
    this.asked = wanted;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.compute(view.start, view.end, Math.round(width)), REST_MS);
  }

  async compute(start, end, columns) {
    const part = await this.picture(start, end, columns);
    if (!part) return;
    this.part = part;
    this.redraw();
    if (this.whole) return;
    this.whole = await this.picture(0, this.seconds, columns);
    this.redraw();
  }

  async picture(start, end, columns) {
    const values = await this.recording.mel(start, end, columns);
    if (!values) return null;
    const top = values.reduce((highest, value) => Math.max(highest, value), -Infinity);
    if (top > this.topDb) {
      this.topDb = top; // brighter than all before: those get darker
      for (const other of [this.whole, this.part]) if (other) other.image = heatCanvas(other.values, top);
    }
    return { start, end, values, image: heatCanvas(values, this.topDb) };
  }
}
