// From when to when a label holds in continuous sound: models/bundle/label_spans.py in JavaScript.
// That file says why each step is as it is; the two give the same spans.

const MIN_CLIPS = 2, MIN_SHOWN_SHARE = 0.5;
const MIN_STRETCH_SHARE = 0.6;
const MAX_GAP_WINDOWS = 4;
const MAX_WINDOWS = 7200;

/** A label that holds from sample `start` to `end`, with the first, last and scores of its windows. */
class LabelSpan {
  constructor(label, start, end = 0) {
    Object.assign(this, { label, start, end });
    this.first = this.last = null;
    this.windowScores = [];
    this.soundsEnd = 0;
    this.events = [];
    this.lasts = false;
  }

  /** The median scores of the windows. */
  get scores() {
    const { windowScores } = this, middle = windowScores.length >> 1;
    return windowScores[0].map((_, label) => {
      const sorted = Float32Array.from(windowScores, (scores) => scores[label]).sort();
      return windowScores.length % 2 ? sorted[middle] : Math.fround(Math.fround(sorted[middle - 1] + sorted[middle]) / 2);
    });
  }

  addWindow(window, scores) {
    this.first ??= window;
    this.last = window;
    this.windowScores.push(scores);
  }

  addSound(sound, events) {
    this.soundsEnd = sound.end;
    this.events.push(...events);
  }
}

/** Collects the windows and sounds of one recording, in the order of their ends. */
export class LabelSpans {
  constructor(clipSamples, hopSamples) {
    Object.assign(this, { clip: clipSamples, hop: hopSamples });
    this.open = new Map(); // label -> its span
  }

  /** The spans that have ended before a window with these scores and labels. */
  addWindow(window, scores, labels) {
    const ended = this.endBefore(window.start + this.clip);
    for (const label of labels) {
      const span = this.open.get(label);
      if (span?.windowScores.length === MAX_WINDOWS) ended.push(this.cut(span, this.middle(window) - (this.hop >> 1)));
      if (!this.open.has(label)) this.open.set(label, new LabelSpan(label, this.startOf(window)));
      this.open.get(label).addWindow(window, scores);
    }
    return ended;
  }

  /** The spans that have ended before this sound; its own is the last if it has ended too. */
  addSound(sound, labels, events) {
    const ended = this.endBefore(sound.start);
    const label = labels.find((other) => this.open.has(other));
    if (label !== undefined) {
      this.open.get(label).addSound(sound, events);
      return ended;
    }
    const span = new LabelSpan(labels[0], sound.start, sound.end);
    span.addSound(sound, events);
    if (!sound.goesOn) return [...ended, span];
    this.open.set(span.label, span);
    return ended;
  }

  /** The spans that last until the end of the recording. */
  finish() {
    return this.endBefore(null);
  }

  /** The earliest start of a label that does not last yet, or is not wanted so far. */
  undecidedFrom(isWanted) {
    const undecided = [...this.open.values()].filter((span) => !(this.lasts(span) && isWanted(span)));
    return undecided.reduce((earliest, { start }) => Math.min(earliest, start), Infinity);
  }

  endBefore(sample) {
    const gap = (MAX_GAP_WINDOWS + 1) * this.hop;
    const ended = [...this.open.values()].filter((span) => sample === null || lastSample(span, this.clip) + gap < sample);
    for (const span of ended) {
      span.end = this.endOf(span);
      span.lasts = this.lasts(span);
    }
    for (const span of ended) this.open.delete(span.label);
    return ended;
  }

  cut(span, end) {
    span.end = end;
    span.lasts = this.lasts(span);
    this.open.set(span.label, new LabelSpan(span.label, end));
    return span;
  }

  startOf(window) {
    if (this.open.size) { // of which none ended more than a gap ago
      const shownUntil = Math.max(...[...this.open.values()].map((span) => this.shownUntil(span)));
      return Math.floor((shownUntil + this.middle(window)) / 2);
    }
    if (window.stretchStart > window.start - this.hop) return window.stretchStart; // the first window of its sound
    return this.middle(window) - (this.hop >> 1);
  }

  endOf(span) {
    const shownUntil = this.shownUntil(span), { last } = span;
    if (!last || this.middle(last) < shownUntil) return shownUntil; // a sound is the last
    const starts = [...this.open.values()].map(({ start }) => start).filter((start) => start > shownUntil);
    if (starts.length) return Math.min(...starts);
    if (last.stretchEnd - last.start - this.clip < this.hop) return last.stretchEnd; // the last window of its sound
    return shownUntil + (this.hop >> 1);
  }

  middle(window) {
    return window.start + Math.floor(this.clip / 2);
  }

  shownUntil({ soundsEnd, last }) {
    return Math.max(soundsEnd, last ? this.middle(last) : 0);
  }

  lasts({ first, last, windowScores }) {
    if (!first) return false;
    const samples = last.start + this.clip - first.start, shown = windowScores.length * this.hop;
    if (samples >= MIN_CLIPS * this.clip && shown >= MIN_SHOWN_SHARE * samples) return true;
    return samples >= MIN_STRETCH_SHARE * (last.stretchEnd - first.stretchStart);
  }
}

const lastSample = ({ soundsEnd, last }, clip) => Math.max(soundsEnd, last ? last.start + clip : 0);
