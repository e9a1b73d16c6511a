// The inference path: samples to windows to the model to a prediction, as service/classifier.py and the
// analysis of long recordings in the service. `run` gives the scores of clips; nothing else runs the model.
import { decide, rank } from "./decision.js";
import { EventDetector } from "./events.js";
import { loudestClip } from "./windows.js";

const MAX_FILE_CLIPS = 1.5; // a longer recording is split into events
const MAX_BATCH = 8;
const SAMPLES_PER_FEED = 1 << 16;

export class Classifier {
  /** `model` is that of model.json; `run(clips)` gives a promise of one Float32Array of scores a clip. */
  constructor(model, run) {
    Object.assign(this, { model, run });
  }

  /**
   * The prediction {label, score, scores, seconds, events} for samples at the model's rate; `events` only
   * for a long recording. With `reject`, what scores below the model's threshold is "unknown".
   * `progress` gets the part that is done; it may give a promise, which is waited for, or throw.
   */
  async classify(samples, reject, progress) {
    const { clip_samples, sample_rate_hz, labels } = this.model;
    const isLong = samples.length > MAX_FILE_CLIPS * clip_samples;
    const events = isLong ? await this.detectEvents(samples, progress) : undefined;
    const [scores] = await this.run([loudestClip(samples, clip_samples)]);
    return {
      ...this.decide(scores, reject),
      scores: rank(scores, labels),
      seconds: samples.length / sample_rate_hz,
      events,
    };
  }

  decide(scores, reject) {
    return decide(scores, this.model, reject ? this.model.rejection_threshold : 0);
  }

  async detectEvents(samples, progress) {
    const detector = new EventDetector(this.model), events = [];
    for (let from = 0; from < samples.length; from += SAMPLES_PER_FEED) {
      events.push(...await this.scoreWindows(detector, detector.feed(samples.subarray(from, from + SAMPLES_PER_FEED))));
      await progress(from / samples.length);
    }
    events.push(...await this.scoreWindows(detector, detector.endOfAudio()));
    return [...events, ...detector.finish()];
  }

  /** The events that windows decide, whose clips are scored in batches. */
  async scoreWindows(detector, windows) {
    const clips = windows.flatMap((window) => window.clips), scores = [];
    for (let i = 0; i < clips.length; i += MAX_BATCH) scores.push(...await this.run(clips.slice(i, i + MAX_BATCH)));
    return windows.flatMap((window) => detector.add(window, scores.splice(0, window.clips.length)));
  }
}
