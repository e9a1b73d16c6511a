// Audio in the browser: decode, draw, and write WAV. The log-mel plot is for display only; the model
// computes its own features.

const DISPLAY_RATE_HZ = 16000;
const N_FFT = 512;
const HOP_LENGTH = 128;
const N_MELS = 48;

/** Decode a file's bytes to mono at 16 kHz; null when this browser cannot decode it. */
export async function decode(buffer) {
  try {
    const context = new OfflineAudioContext(1, 1, DISPLAY_RATE_HZ);
    const audio = await context.decodeAudioData(buffer);
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
  const columns = logMel(samples);
  const g = canvas.getContext("2d");
  const image = g.createImageData(columns.length, N_MELS);
  let top = -Infinity;
  for (const column of columns) for (const value of column) top = Math.max(top, value);
  columns.forEach((column, x) => {
    for (let bin = 0; bin < N_MELS; bin++) {
      const fraction = Math.max(0, Math.min(1, (column[bin] - top + 70) / 70));
      const offset = 4 * ((N_MELS - 1 - bin) * columns.length + x);
      image.data.set([...heatColor(fraction), 255], offset);
    }
  });
  const small = new OffscreenCanvas(columns.length, N_MELS);
  small.getContext("2d").putImageData(image, 0, 0);
  g.imageSmoothingEnabled = false;
  g.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function heatColor(fraction) {
  const stops = [[8, 20, 24], [18, 72, 96], [40, 140, 130], [190, 200, 90], [255, 245, 200]];
  const position = fraction * (stops.length - 1);
  const index = Math.min(stops.length - 2, Math.floor(position));
  const part = position - index;
  return stops[index].map((from, i) => Math.round(from + (stops[index + 1][i] - from) * part));
}

function logMel(samples) {
  const filters = melFilters();
  const window = Float32Array.from({ length: N_FFT }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / N_FFT));
  const count = Math.max(1, Math.min(1200, 1 + Math.floor(samples.length / HOP_LENGTH)));
  const step = Math.max(HOP_LENGTH, Math.floor(samples.length / count));
  const columns = [];
  for (let n = 0; n < count; n++) {
    const real = new Float32Array(N_FFT), imaginary = new Float32Array(N_FFT);
    for (let i = 0; i < N_FFT; i++) real[i] = (samples[n * step + i - N_FFT / 2] ?? 0) * window[i];
    fft(real, imaginary);
    columns.push(filters.map((filter) => {
      let power = 1e-10;
      for (const [bin, weight] of filter) power += weight * (real[bin] ** 2 + imaginary[bin] ** 2);
      return 10 * Math.log10(power);
    }));
  }
  return columns;
}

let cachedFilters;
function melFilters() {
  if (cachedFilters) return cachedFilters;
  const toMel = (hz) => 2595 * Math.log10(1 + hz / 700), toHz = (mel) => 700 * (10 ** (mel / 2595) - 1);
  const edges = Array.from({ length: N_MELS + 2 }, (_, i) => (toHz((toMel(DISPLAY_RATE_HZ / 2) * i) / (N_MELS + 1)) * N_FFT) / DISPLAY_RATE_HZ);
  cachedFilters = Array.from({ length: N_MELS }, (_, band) => {
    const [low, middle, high] = edges.slice(band, band + 3);
    const filter = [];
    for (let bin = Math.floor(low); bin <= Math.ceil(high) && bin <= N_FFT / 2; bin++) {
      const weight = bin < middle ? (bin - low) / Math.max(middle - low, 1e-6) : (high - bin) / Math.max(high - middle, 1e-6);
      if (weight > 0) filter.push([bin, weight]);
    }
    return filter.length ? filter : [[Math.round(middle), 1]];
  });
  return cachedFilters;
}

/** Fast Fourier transform, in place, radix 2. */
function fft(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let size = 2; size <= n; size <<= 1) {
    const angle = (-2 * Math.PI) / size;
    for (let start = 0; start < n; start += size) {
      for (let k = 0; k < size / 2; k++) {
        const c = Math.cos(angle * k), s = Math.sin(angle * k);
        const a = start + k, b = a + size / 2;
        const re = real[b] * c - imaginary[b] * s, im = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
        real[a] += re; imaginary[a] += im;
      }
    }
  }
}

/** Float samples to 16-bit integers. */
export function toPcm16(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) pcm[i] = Math.max(-1, Math.min(1, samples[i])) * 32767;
  return pcm;
}

/** A mono 16-bit WAV file. */
export function writeWav(samples, rateHz) {
  const pcm = toPcm16(samples);
  const header = new DataView(new ArrayBuffer(44));
  const text = (offset, value) => [...value].forEach((c, i) => header.setUint8(offset + i, c.charCodeAt(0)));
  text(0, "RIFF"); header.setUint32(4, 36 + pcm.byteLength, true); text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, 1, true);
  header.setUint32(24, rateHz, true); header.setUint32(28, rateHz * 2, true);
  header.setUint16(32, 2, true); header.setUint16(34, 16, true);
  text(36, "data"); header.setUint32(40, pcm.byteLength, true);
  return new Blob([header, pcm], { type: "audio/wav" });
}
