// Resamples audio that comes in chunks of any size, by a sinc filter with a Kaiser window.
// The filter has the pass band and rejection of soxr HQ, which the other ways to classify use; in the
// narrow band between, samples differ a little.
import { concatenate } from "./arrays.js";

const PASS_BAND = 0.9133; // of the lower Nyquist frequency; above that frequency nothing passes
const REJECTION_DB = 125;
// Kaiser's formulas (1974) for the shape of the window, and its length for a transition.
const BETA = 0.1102 * (REJECTION_DB - 8.7);
const LENGTH = (REJECTION_DB - 7.95) / (2.285 * Math.PI);
// The filter is computed at so many places of a sample, fewer as it is longer: rates without a common divisor
// have a hundred thousand, and a straight line between two is closer than -130 dB.
const MAX_PHASES = 2048;

export class Resampler {
  constructor(fromHz, toHz) {
    const divisor = greatestCommonDivisor(fromHz, toHz);
    this.up = toHz / divisor; // output sample n lies at n * down / up of the input
    this.down = fromHz / divisor;
    const lower = Math.min(1, toHz / fromHz); // of the input's Nyquist frequency
    this.half = Math.ceil(LENGTH / ((1 - PASS_BAND) * lower) / 2);
    this.cutoff = (lower * (1 + PASS_BAND)) / 2;
    this.nPhases = Math.min(this.up, Math.ceil(MAX_PHASES * lower));
    this.phases = new Map();
    this.samples = new Float32Array(this.half); // silence before the start
    this.origin = -this.half; // position of the first of them
    this.received = this.given = 0;
  }

  /** The samples at the new rate that are complete. */
  feed(samples) {
    if (this.up === this.down) return samples;
    this.samples = concatenate(this.samples, samples);
    this.received += samples.length;
    return this.compute(Math.floor(((this.received - this.half - 1) * this.up) / this.down) + 1);
  }

  /** The rest; a few samples may resample to none, but audio is not empty. */
  finish() {
    if (this.up === this.down) return new Float32Array(0);
    const total = Math.max(this.received ? 1 : 0, Math.round((this.received * this.up) / this.down));
    this.samples = concatenate(this.samples, new Float32Array(this.half + Math.ceil(this.down / this.up) + 1));
    return this.compute(total);
  }

  /** The samples up to number `end`. */
  compute(end) {
    const resampled = new Float32Array(Math.max(0, end - this.given)), { samples } = this;
    for (let i = 0; i < resampled.length; i++, this.given++) {
      const place = this.given * this.down, whole = Math.floor(place / this.up);
      const first = whole - this.half + 1 - this.origin;
      const phase = ((place % this.up) * this.nPhases) / this.up, before = Math.floor(phase), part = phase - before;
      const sum = weigh(samples, first, this.weights(before));
      resampled[i] = part === 0 ? sum : sum + part * (weigh(samples, first, this.weights(before + 1)) - sum);
    }
    const keep = Math.max(this.origin, Math.floor((this.given * this.down) / this.up) - this.half);
    this.samples = this.samples.slice(keep - this.origin);
    this.origin = keep;
    return resampled;
  }

  /** Weights of the samples around a place that lies `phase` / `nPhases` behind one of them. */
  weights(phase) {
    let weights = this.phases.get(phase);
    if (!weights) {
      const part = phase / this.nPhases;
      weights = Float64Array.from({ length: 2 * this.half }, (_, k) => this.impulse(k - this.half + 1 - part));
      this.phases.set(phase, weights);
    }
    return weights;
  }

  impulse(distance) {
    const share = distance / this.half, angle = Math.PI * this.cutoff * distance;
    if (Math.abs(share) >= 1) return 0;
    const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
    return this.cutoff * sinc * (bessel(BETA * Math.sqrt(1 - share * share)) / PEAK);
  }
}

function weigh(samples, first, weights) {
  let sum = 0;
  for (let k = 0; k < weights.length; k++) sum += weights[k] * samples[first + k];
  return sum;
}

/** All samples at a new rate. */
export function resample(samples, fromHz, toHz) {
  const resampler = new Resampler(fromHz, toHz);
  return concatenate(resampler.feed(samples), resampler.finish());
}

/** The modified Bessel function of the first kind and order 0, by its series. */
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
const PEAK = bessel(BETA);

const greatestCommonDivisor = (a, b) => (b ? greatestCommonDivisor(b, a % b) : a);
