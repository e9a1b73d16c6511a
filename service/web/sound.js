// A short clip in the browser: decode it, and draw its waveform and log-mel spectrogram.
import { N_MELS, createLogMel, heatCanvas } from "./log_mel.js";

export const DISPLAY_RATE_HZ = 16000;
const HOP_LENGTH = 128;
const MAX_COLUMNS = 1200;

/** Decode a file's bytes to mono at `rateHz`; null when this browser cannot decode it. */
export async function decode(buffer, rateHz = DISPLAY_RATE_HZ) {
  try {
    const context = new OfflineAudioContext(1, 1, rateHz);
    const audio = await context.decodeAudioData(buffer);
    if (audio.numberOfChannels === 1) return audio.getChannelData(0);
    const mono = new Float32Array(audio.length);
    for (let c = 0; c < audio.numberOfChannels; c++) {
      const channel = audio.getChannelData(c);
      for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / audio.numberOfChannels;
    }
    return mono;
  } catch {
    return null;
  }
}

/** Draw the waveform: for each column of pixels the range of its samples. */
export function drawWaveform(canvas, samples) {
  const g = canvas.getContext("2d");
  const { width, height } = canvas;
  g.clearRect(0, 0, width, height);
  g.fillStyle = "#4fc3b8";
  let peak = 1e-6;
  for (const x of samples) peak = Math.max(peak, Math.abs(x));
  for (let column = 0; column < width; column++) {
    const from = Math.floor((column * samples.length) / width);
    const to = Math.max(from + 1, Math.floor(((column + 1) * samples.length) / width));
    let low = 0, high = 0;
    for (let i = from; i < to && i < samples.length; i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const top = ((1 - high / peak) * height) / 2, bottom = ((1 - low / peak) * height) / 2;
    g.fillRect(column, top, 1, Math.max(1, bottom - top));
  }
}

/** Draw the log-mel spectrogram: low mel bins at the bottom, a range of 70 dB from dark to bright. */
export function drawLogMel(canvas, samples) {
  const { nFft, column } = createLogMel(DISPLAY_RATE_HZ);
  const count = Math.max(1, Math.min(MAX_COLUMNS, 1 + Math.floor(samples.length / HOP_LENGTH)));
  const step = Math.max(HOP_LENGTH, Math.floor(samples.length / count));
  const values = new Float32Array(count * N_MELS), frame = new Float32Array(nFft);
  let top = -Infinity;
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < nFft; i++) frame[i] = samples[n * step + i - nFft / 2] ?? 0;
    const powers = column(frame);
    values.set(powers, n * N_MELS);
    top = Math.max(top, ...powers);
  }
  const g = canvas.getContext("2d");
  g.imageSmoothingEnabled = false;
  g.drawImage(heatCanvas(values, top), 0, 0, canvas.width, canvas.height);
}
