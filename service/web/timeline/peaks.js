// Lowest and highest sample of each stretch of a recording, at several resolutions, so that any part
// of it is drawn without reading its samples again.

export const PEAK_SECONDS = 0.002;
const FACTOR = 8; // a level has this many times fewer pairs than the one below

/** Peaks of `length` samples, filled with `add`; `perPeak` samples make one pair. */
export class Peaks {
  constructor(length, rateHz) {
    this.perPeak = Math.max(1, Math.round(PEAK_SECONDS * rateHz));
    this.count = Math.ceil(length / this.perPeak);
    this.ready = 0; // pairs added so far
    this.loudest = 1;
    this.levels = [];
    for (let n = this.count; ; n = Math.ceil(n / FACTOR)) {
      this.levels.push(new Int16Array(2 * n));
      if (n <= 1) break;
    }
  }

  /** Add the next pairs (lowest, highest, lowest, ...) of the finest level. */
  add(pairs) {
    const [finest, ...coarser] = this.levels;
    finest.set(pairs, 2 * this.ready);
    for (let i = 0; i < pairs.length; i += 2) {
      const low = pairs[i], high = pairs[i + 1];
      this.loudest = Math.max(this.loudest, -low, high);
      let cell = this.ready + i / 2;
      for (const level of coarser) {
        cell = Math.floor(cell / FACTOR);
        level[2 * cell] = Math.min(level[2 * cell], low);
        level[2 * cell + 1] = Math.max(level[2 * cell + 1], high);
      }
    }
    this.ready += pairs.length / 2;
  }

  /** Pairs (lowest, highest) in [-1, 1], relative to the loudest, of `columns` equal parts of a range of samples. */
  columns(from, to, columns) {
    const pairs = new Float32Array(2 * columns);
    const perColumn = (to - from) / columns / this.perPeak;
    const depth = Math.max(0, Math.min(this.levels.length - 1, Math.floor(Math.log(perColumn) / Math.log(FACTOR))));
    const level = this.levels[depth], scale = this.perPeak * FACTOR ** depth;
    for (let column = 0; column < columns; column++) {
      const first = Math.max(0, Math.floor((from + ((to - from) * column) / columns) / scale));
      const last = Math.max(first + 1, Math.floor((from + ((to - from) * (column + 1)) / columns) / scale));
      for (let cell = first; cell < last && 2 * cell < level.length; cell++) {
        pairs[2 * column] = Math.min(pairs[2 * column], level[2 * cell] / this.loudest);
        pairs[2 * column + 1] = Math.max(pairs[2 * column + 1], level[2 * cell + 1] / this.loudest);
      }
    }
    return pairs;
  }
}

/** The pairs of samples, one for `perPeak` of them. */
export function peakPairs(samples, perPeak) {
  const pairs = new Int16Array(2 * Math.ceil(samples.length / perPeak));
  for (let pair = 0, i = 0; pair < pairs.length; pair += 2) {
    let low = 0, high = 0;
    for (const end = Math.min(samples.length, i + perPeak); i < end; i++) {
      if (samples[i] < low) low = samples[i];
      else if (samples[i] > high) high = samples[i];
    }
    pairs[pair] = Math.max(-1, low) * 32767;
    pairs[pair + 1] = Math.min(1, high) * 32767;
  }
  return pairs;
}
