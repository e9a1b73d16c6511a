// The power of the noise in each band: a quantile of the last seconds, as in data/audio/sounds.py.

const QUANTILE = 0.2;
const MEAN_TO_QUANTILE = 1.3; // mean of the powers of stationary noise, as a multiple of that quantile

export class NoiseFloor {
  /** `silence` is the lowest floor of each band. */
  constructor(floorFrames, silence) {
    Object.assign(this, { floorFrames, silence });
  }

  /** The floor of each band for a step that ends before frame `stop` of `smoothed`, at least frame `least`. */
  at(smoothed, stop, least) {
    const end = Math.max(stop, least), past = [];
    // Neighbours are means of the same frames.
    for (let i = Math.max(0, end - this.floorFrames); i < Math.min(end, smoothed.length); i += 2) past.push(smoothed[i]);
    const rank = Math.trunc(QUANTILE * (past.length - 1));
    return this.silence.map((silence, band) => {
      const powers = Float64Array.from(past, (bands) => bands[band]).sort();
      return Math.max(MEAN_TO_QUANTILE * powers[rank], silence);
    });
  }
}
