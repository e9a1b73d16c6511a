// Detects sound events in a recording: service/events.py in JavaScript, with its default options.
// That file says why each step is as it is; the two give the same events.
import { SEPARATOR } from "../labels.js";
import { likelyLabels } from "./decision.js";
import { LabelSpans } from "./label_spans.js";
import { roundHalfEven, roundThousandths } from "./rounding.js";
import { SoundWindower } from "./sound_windows.js";

const WIDEST_OFFSET = 0.1; // of a clip: the windows of a sound before and after the one in its middle

/**
 * Finds the events {start, end, label, score} of one recording. `feed` and `endOfAudio` give windows
 * with their `clips`; `add` takes the scores of these in the same order. `model` is that of model.json:
 * of `event_min_scores`, null is for a label that is no event.
 */
export class EventDetector {
  constructor(model) {
    const widest = roundHalfEven(WIDEST_OFFSET * model.clip_samples);
    this.model = model;
    this.windower = new SoundWindower(model.sample_rate_hz, model.clip_samples, [-widest, 0, widest]);
    this.minScores = model.event_min_scores.map((score) => score ?? Infinity);
    this.spans = new LabelSpans(model.clip_samples, this.windower.hopSamples);
    this.sampleCount = 0;
    this.lastStart = -Infinity;
    this.waiting = [];
  }

  feed(samples) {
    this.sampleCount += samples.length;
    return this.windower.feed(samples);
  }

  endOfAudio() {
    return this.windower.finish();
  }

  /** The events that the scores (one Float32Array a clip) of the next window decide. */
  add(window, scores) {
    const spans = "stretchStart" in window
      ? this.spans.addWindow(window, scores[0], this.likely(scores[0]))
      : this.addSound(window, meanScores(scores));
    this.waiting.push(...this.events(spans));
    return this.decided();
  }

  /** The events that last until the end. */
  finish() {
    this.waiting.push(...this.events(this.spans.finish()));
    return this.decided();
  }

  addSound(sound, scores) {
    const likely = this.likely(scores), accepted = likely.filter((i) => scores[i] >= this.minScores[i]);
    const isEvent = accepted.length > 0 && sound.start >= this.lastStart;
    if (isEvent) this.lastStart = sound.start;
    const events = isEvent ? [this.event(sound.start, sound.end, accepted, scores)] : [];
    return this.spans.addSound(sound, accepted.length ? accepted : likely, events);
  }

  /** The waiting events before which no other can begin, in order of their starts. */
  decided() {
    const undecidedFrom = this.spans.undecidedFrom((span) => this.isWanted(span));
    this.waiting.sort((a, b) => a.start - b.start);
    const count = this.waiting.findIndex(({ start }) => !(start * this.model.sample_rate_hz <= undecidedFrom));
    return this.waiting.splice(0, count < 0 ? this.waiting.length : count);
  }

  /** One event for a label that lasts, otherwise those of its single sounds. */
  events(spans) {
    return spans.flatMap((span) => (span.lasts && this.isWanted(span)
      ? [this.event(span.start, span.end, [span.label], span.scores)] : span.events));
  }

  isWanted({ scores, label }) {
    return scores[label] >= this.minScores[label];
  }

  likely(scores) {
    return likelyLabels(scores, this.model.score_kind);
  }

  event(start, end, labels, scores) {
    const { sample_rate_hz: rateHz, labels: names } = this.model;
    return {
      start: roundThousandths(Math.max(0, start) / rateHz),
      end: roundThousandths(Math.min(end, this.sampleCount) / rateHz),
      label: labels.map((i) => names[i]).join(SEPARATOR),
      score: Math.min(...labels.map((i) => scores[i])),
    };
  }
}

/** The mean scores over windows, in float32 as numpy adds rows. */
function meanScores(windows) {
  const sums = windows.reduce((sum, scores) => sum.map((value, i) => value + scores[i]));
  return sums.map((value) => value / windows.length);
}
