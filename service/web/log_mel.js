// Log-mel spectrograms for display only; the model computes its own features.
import { createFft } from "./fft.js";

export const N_MELS = 48;
const FRAME_SECONDS = 0.032;
export const TOP_HZ = 8000;
const RANGE_DB = 70;
const LEAST_TOP_DB = -30; // brightest of a recording that is silent throughout: its silence stays dark

/** For a rate: {nFft, column}; `column` gives the N_MELS powers in dB of nFft samples. */
export function createLogMel(rateHz) {
  const nFft = 2 ** Math.round(Math.log2(FRAME_SECONDS * rateHz));
  const window = Float32Array.from({ length: nFft }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / nFft));
  const filters = melFilters(rateHz, nFft), transform = createFft(nFft);
  const real = new Float32Array(nFft), imaginary = new Float32Array(nFft);
  const column = (samples) => {
    for (let i = 0; i < nFft; i++) real[i] = (samples[i] ?? 0) * window[i];
    imaginary.fill(0);
    transform(real, imaginary);
    return filters.map((filter) => {
      let power = 1e-10;
      for (const [bin, weight] of filter) power += weight * (real[bin] ** 2 + imaginary[bin] ** 2);
      return 10 * Math.log10(power);
    });
  };
  return { nFft, column };
}

/** Mel of a frequency, as HTK has it. */
export const toMel = (hz) => 2595 * Math.log10(1 + hz / 700);

/**
 * A canvas of (columns, N_MELS) pixels, low mel bins at the bottom: a range of 70 dB below `topDb`
 * from dark to bright.
 */
export function heatCanvas(values, topDb) {
  const width = values.length / N_MELS, bottomDb = Math.max(topDb, LEAST_TOP_DB) - RANGE_DB;
  const image = new ImageData(width, N_MELS);
  for (let x = 0; x < width; x++) {
    for (let bin = 0; bin < N_MELS; bin++) {
      const fraction = (values[x * N_MELS + bin] - bottomDb) / RANGE_DB;
      const color = PALETTE[Math.max(0, Math.min(255, Math.round(255 * fraction)))];
      image.data.set(color, 4 * ((N_MELS - 1 - bin) * width + x));
    }
  }
  const canvas = new OffscreenCanvas(width, N_MELS);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const PALETTE = Array.from({ length: 256 }, (_, i) => {
  const stops = [[8, 20, 24], [18, 72, 96], [40, 140, 130], [190, 200, 90], [255, 245, 200]];
  const position = (i / 255) * (stops.length - 1);
  const index = Math.min(stops.length - 2, Math.floor(position)), part = position - index;
  return [...stops[index].map((from, c) => Math.round(from + (stops[index + 1][c] - from) * part)), 255];
});

function melFilters(rateHz, nFft) {
  const toHz = (mel) => 700 * (10 ** (mel / 2595) - 1);
  const top = toMel(Math.min(TOP_HZ, rateHz / 2));
  const edges = Array.from({ length: N_MELS + 2 }, (_, i) => (toHz((top * i) / (N_MELS + 1)) * nFft) / rateHz);
  return Array.from({ length: N_MELS }, (_, band) => {
    const [low, middle, high] = edges.slice(band, band + 3);
    const filter = [];
    for (let bin = Math.floor(low); bin <= Math.ceil(high) && bin <= nFft / 2; bin++) {
      const weight = bin < middle ? (bin - low) / Math.max(middle - low, 1e-6) : (high - bin) / Math.max(high - middle, 1e-6);
      if (weight > 0) filter.push([bin, weight]);
    }
    return filter.length ? filter : [[Math.round(middle), 1]];
  });
}
