// A live stream, in the worker: a result at every hop and an event per sound, as POST /v1/stream.
import { concatenate } from "./arrays.js";
import { EventDetector } from "./events.js";
import { Resampler } from "./resample.js";
import { roundHalfEven } from "./rounding.js";
import { SILENCE_POWER } from "./sounds.js";

const HOP_FRACTION = 0.25; // of a clip, between results
const BLOCK_SECONDS = 0.02; // over which loudness is measured

export class LiveStream {
  /** `send` gets {type: "result" | "event", ...}. */
  constructor(classifier, rateHz, reject, send) {
    const { model } = classifier;
    Object.assign(this, { classifier, reject, send });
    this.resampler = new Resampler(rateHz, model.sample_rate_hz);
    this.detector = new EventDetector(model);
    this.hop = Math.max(1, roundHalfEven(model.clip_samples * HOP_FRACTION));
    this.clip = new Float32Array(model.clip_samples); // the last one; silence before the start
    this.pending = new Float32Array(0);
  }

  async feed(chunk) {
    const samples = this.resampler.feed(chunk);
    this.pending = concatenate(this.pending, samples);
    while (this.pending.length >= this.hop) {
      this.clip = concatenate(this.clip, this.pending.subarray(0, this.hop)).slice(this.hop);
      this.pending = this.pending.slice(this.hop);
      // Of hops that arrive together only the last is shown.
      if (this.pending.length < this.hop) await this.sendResult();
    }
    await this.sendEvents(this.detector.feed(samples));
  }

  async finish() {
    await this.sendEvents([...this.detector.feed(this.resampler.finish()), ...this.detector.endOfAudio()]);
    for (const event of this.detector.finish()) this.send({ type: "event", ...event });
  }

  async sendResult() {
    if (this.isQuiet()) return this.send({ type: "result", label: null, score: 0 });
    const [scores] = await this.classifier.run([this.clip]);
    this.send({ type: "result", ...this.classifier.decide(scores, this.reject) });
  }

  async sendEvents(windows) {
    for (const event of await this.classifier.scoreWindows(this.detector, windows)) this.send({ type: "event", ...event });
  }

  isQuiet() {
    const block = Math.max(1, roundHalfEven(BLOCK_SECONDS * this.classifier.model.sample_rate_hz));
    for (let start = 0; start < this.clip.length; start += block) {
      const power = this.clip.subarray(start, start + block).reduce((sum, x) => sum + x * x, 0) / block;
      if (power > SILENCE_POWER) return false;
    }
    return true;
  }
}
