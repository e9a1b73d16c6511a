// Which part of a recording a timeline shows: seconds to pixels and back, zoom and pan.

const MIN_SPAN_SECONDS = 0.5;
const FIRST_PIXELS_PER_SECOND = 36; // a word of 0.4 s is as wide as a short label

export class View {
  constructor(seconds) {
    this.seconds = seconds;
    this.start = this.span = 0;
    this.width = 1;
  }

  get end() {
    return this.start + this.span;
  }

  setWidth(width) {
    this.width = Math.max(1, width);
    if (!this.span) this.span = Math.min(this.seconds, this.width / FIRST_PIXELS_PER_SECOND);
  }

  toPixels(time) {
    return ((time - this.start) / this.span) * this.width;
  }

  toSeconds(pixels) {
    return this.start + (pixels / this.width) * this.span;
  }

  /** Show `factor` times less, with the same `time` at the same place. */
  zoom(factor, time = this.start + this.span / 2) {
    const part = (time - this.start) / this.span;
    this.span = Math.min(this.seconds, Math.max(Math.min(MIN_SPAN_SECONDS, this.seconds), this.span / factor));
    this.moveTo(time - part * this.span);
  }

  moveTo(start) {
    this.start = Math.max(0, Math.min(this.seconds - this.span, start));
  }

  /** Move as little as is needed to show a stretch, with room around it. */
  reveal(start, end) {
    const room = Math.min(this.span / 8, Math.max(0, (this.span - (end - start)) / 2));
    if (start - room < this.start) this.moveTo(start - room);
    else if (end + room > this.end) this.moveTo(end + room - this.span);
  }
}
