// Where sounds begin and end in a recording: data/audio/sounds.py in JavaScript, with its constants.
// That file says why each step is as it is; the two give the same sounds.
import { createPowerSpectrum } from "../fft.js";
import { concatenate } from "./arrays.js";
import { NoiseFloor } from "./noise_floor.js";
import { roundHalfEven } from "./rounding.js";
import { Segmenter } from "./segmenter.js";

const FRAME_SECONDS = 0.01;
export const SILENCE_POWER = 10 ** (-55 / 10);
const WINDOW_SECONDS = 0.032, SMOOTHED_FRAMES = 5;
const BANDS = 16, LOWEST_HZ = 80;
const FLOOR_CLIPS = 2, MIN_FLOOR_SECONDS = 2;
const STEP_FRAMES = 25;
const MAX_RATIO = 1e3;
const SILENCE_RATIO = 10 ** (-25 / 10);
const DECAY_PER_STEP = 10 ** ((-0.1 * STEP_FRAMES * FRAME_SECONDS) / 10);
const MIN_SCORE = 0.1, MIN_STRONG_SCORE = 0.3;
const PAUSE_CLIPS = 0.05, MIN_PAUSE_FRAMES = 11;

/** Finds the sounds of one recording, which comes in chunks of any size. */
export class SoundFinder {
  constructor(rateHz, clipSeconds) {
    const floorSeconds = Math.max(MIN_FLOOR_SECONDS, FLOOR_CLIPS * clipSeconds);
    this.floorFrames = Math.ceil(floorSeconds / FRAME_SECONDS / STEP_FRAMES) * STEP_FRAMES;
    this.pauseFrames = Math.max(MIN_PAUSE_FRAMES, roundHalfEven((PAUSE_CLIPS * clipSeconds) / FRAME_SECONDS));
    this.frameSamples = Math.max(1, roundHalfEven(FRAME_SECONDS * rateHz));
    this.windowSamples = Math.max(2, roundHalfEven(WINDOW_SECONDS * rateHz));
    this.window = powerWindow(this.windowSamples);
    this.spectrum = createPowerSpectrum(this.windowSamples);
    this.edges = bandEdges(rateHz, this.windowSamples);
    const widths = this.edges.slice(1).map((edge, i) => edge - this.edges[i]);
    const bins = widths.reduce((sum, width) => sum + width, 0);
    this.floor = new NoiseFloor(this.floorFrames, widths.map((width) => (SILENCE_POWER * width) / bins));
    this.samples = new Float32Array(Math.max(0, Math.floor((this.windowSamples - this.frameSamples) / 2)));
    this.powers = []; // of each frame that is not smoothed yet: those of its bands
    this.smoothed = [];
    this.smoothedBefore = this.nextFrame = this.loudest = 0;
    this.segmenter = new Segmenter(this.pauseFrames);
  }

  /** {first, last} of the sound that has not ended yet, up to its last frame so far; or null. */
  get openSound() {
    return this.segmenter.openSound;
  }

  /** {active, loud, sounds}: the frames that these samples decide, and the sounds that end in them. */
  feed(samples) {
    this.measure(samples);
    return this.decide(false);
  }

  /** The frames up to the end of the recording; its last sound ends there. */
  finish() {
    this.measure(new Float32Array(this.windowSamples));
    const last = this.powers.slice(-1);
    this.smooth([...last, ...last]);
    return this.decide(true);
  }

  measure(samples) {
    this.samples = concatenate(this.samples, samples);
    const count = Math.floor((this.samples.length - this.windowSamples) / this.frameSamples) + 1;
    if (count <= 0) return;
    const powers = Array.from({ length: count }, (_, i) => this.bandPowers(i * this.frameSamples));
    this.samples = this.samples.slice(count * this.frameSamples);
    this.smooth(powers);
  }

  bandPowers(start) {
    const powers = this.spectrum(this.window.map((weight, i) => weight * this.samples[start + i]));
    return this.edges.slice(0, -1).map((edge, band) => {
      let sum = 0;
      for (let bin = edge; bin < this.edges[band + 1]; bin++) sum += powers[bin];
      return sum;
    });
  }

  smooth(powers) {
    const isFirst = !this.powers.length && !this.smoothed.length;
    const edge = isFirst ? [...powers.slice(0, 1), ...powers.slice(0, 1)] : []; // the first frames have no past
    this.powers = [...this.powers, ...edge, ...powers];
    const means = this.powers.length - SMOOTHED_FRAMES + 1;
    if (means <= 0) return;
    for (let first = 0; first < means; first++) this.smoothed.push(medians(this.powers.slice(first, first + SMOOTHED_FRAMES)));
    this.powers = this.powers.slice(means);
  }

  decide(final) {
    const known = this.smoothedBefore + this.smoothed.length;
    let end = final ? known : known - (known % STEP_FRAMES);
    if (!final && end < this.floorFrames) end = 0;
    if (!this.nextFrame) this.loudest = this.smoothed.slice(0, this.floorFrames).map(sum).reduce((a, b) => Math.max(a, b), 0);
    const frames = { active: [], strong: [], loud: [] };
    while (this.nextFrame < end) this.decideStep(Math.min(end, this.nextFrame + STEP_FRAMES), frames);
    const surplus = this.nextFrame - this.smoothedBefore - this.floorFrames;
    if (surplus > 0 && end > this.floorFrames) {
      this.smoothed = this.smoothed.slice(surplus);
      this.smoothedBefore += surplus;
    }
    const sounds = this.segmenter.update(frames.active, frames.strong);
    if (final) sounds.push(...this.segmenter.close());
    return { active: Uint8Array.from(frames.active), loud: Uint8Array.from(frames.loud), sounds };
  }

  decideStep(stop, { active, strong, loud }) {
    const now = this.smoothed.slice(this.nextFrame - this.smoothedBefore, stop - this.smoothedBefore);
    const floor = this.floor.at(this.smoothed, stop - this.smoothedBefore, this.floorFrames - this.smoothedBefore);
    const powers = now.map(sum);
    this.loudest = powers.reduce((a, b) => Math.max(a, b), this.loudest * DECAY_PER_STEP);
    const silence = Math.max(SILENCE_POWER, SILENCE_RATIO * this.loudest);
    now.forEach((bands, i) => {
      const score = likelihoodRatio(bands, floor);
      active.push(score > MIN_SCORE);
      strong.push(score > MIN_STRONG_SCORE);
      loud.push(powers[i] > silence);
    });
    this.nextFrame = stop;
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function likelihoodRatio(powers, floor) {
  let total = 0;
  for (let band = 0; band < powers.length; band++) {
    const ratio = Math.min(MAX_RATIO, Math.max(1, powers[band] / floor[band]));
    total += ratio - Math.log(ratio) - 1;
  }
  return total / powers.length;
}

/** The median of each band over a few frames, an odd number of them. */
function medians(frames) {
  const middle = frames.length >> 1;
  return frames[0].map((_, band) => Float64Array.from(frames, (bands) => bands[band]).sort()[middle]);
}

/** A Hann window of n points with which the powers of all bins add up to the mean power of samples. */
function powerWindow(n) {
  const hann = Float64Array.from({ length: n }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (n - 1)));
  const scale = Math.sqrt(2 / (n * sum(hann.map((weight) => weight * weight))));
  return hann.map((weight) => weight * scale);
}

/** First bins of the bands, equally wide in mel, and the end of the last one. */
function bandEdges(rateHz, windowSamples) {
  const nyquistHz = rateHz / 2, lowestHz = Math.min(LOWEST_HZ, nyquistHz / 4);
  const [low, high] = [lowestHz, nyquistHz].map((hz) => 2595 * Math.log10(1 + hz / 700));
  const bins = Array.from({ length: BANDS + 1 }, (_, i) => {
    const mel = i === BANDS ? high : low + i * ((high - low) / BANDS);
    const hz = 700 * (10 ** (mel / 2595) - 1);
    return Math.min(Math.ceil((hz * windowSamples) / rateHz), windowSamples >> 1);
  });
  return [...new Set(bins)].sort((a, b) => a - b);
}
