// Reads a recording off the page's thread: its peaks from start to end, spectrograms of any part of
// it, and stretches cut out of it.
//   in   {open: {file} | {samples, rateHz}}   out  {opened: {rateHz, length} | null}, then {peaks} until {done}
//   in   {mel: {id, from, to, columns}}       out  {mel: {id, values}}; null if another one was asked for, or
//                                                 the file has gone
//   in   {cut: {id, from, to}}                out  {cut: {id, blob}}; null if the file has gone
import { openFlac } from "../flac.js";
import { N_MELS, createLogMel } from "../log_mel.js";
import { openMp3 } from "../mp3.js";
import { openWav, writeWav } from "../wav.js";
import { PEAK_SECONDS, peakPairs } from "./peaks.js";

const PEAKS_PER_MESSAGE = 20_000;
const FRAMES_PER_COLUMN = 3; // of a column that is longer, only these are looked at
const COLUMNS_PER_READ = 64;
let recording, logMel, latestMel = 0;

self.onmessage = async ({ data: { open: content, mel, cut } }) => {
  if (content) await open(content).catch(() => postMessage({ opened: null }));
  if (mel) {
    latestMel = mel.id;
    postMessage({ mel: { id: mel.id, values: await computeMel(mel).catch(() => null) } });
  }
  if (cut) {
    const { id, from, to } = cut;
    postMessage({ cut: { id, blob: await recording.cut(from, to).catch(() => null) } });
  }
};

async function open({ file, samples, rateHz }) {
  recording = file
    ? (await openWav(file)) ?? (await openFlac(file)) ?? (await openMp3(file))
    : inMemory(samples, rateHz);
  if (!recording) return postMessage({ opened: null });
  logMel = createLogMel(recording.rateHz);
  postMessage({ opened: { rateHz: recording.rateHz, length: recording.length } });
  const perPeak = Math.max(1, Math.round(PEAK_SECONDS * recording.rateHz));
  for (let from = 0; from < recording.length; from += PEAKS_PER_MESSAGE * perPeak) {
    const pairs = peakPairs(await recording.read(from, from + PEAKS_PER_MESSAGE * perPeak), perPeak);
    postMessage({ peaks: pairs }, [pairs.buffer]);
    await pause();
  }
  postMessage({ done: true });
}

function inMemory(samples, rateHz) {
  return {
    rateHz,
    length: samples.length,
    read: (from, to) => samples.subarray(Math.max(0, from), Math.min(samples.length, to)),
    cut: async (from, to) => writeWav(samples.subarray(from, to), rateHz),
  };
}

async function computeMel({ id, from, to, columns }) {
  const values = new Float32Array(columns * N_MELS).fill(-Infinity);
  for (let first = 0; first < columns; first += COLUMNS_PER_READ) {
    await pause();
    if (id !== latestMel) return null;
    const count = Math.min(COLUMNS_PER_READ, columns - first);
    await computeColumns(values, first, count, (column) => from + (column * (to - from)) / columns);
  }
  return values;
}

async function computeColumns(values, first, count, startOf) {
  const { nFft, column } = logMel, perColumn = startOf(1) - startOf(0);
  const frames = Math.min(FRAMES_PER_COLUMN, Math.max(1, Math.floor(perColumn / nFft)));
  const frame = new Float32Array(nFft), n = frames * nFft;
  const starts = Array.from({ length: count }, (_, i) => Math.round(startOf(first + i + 0.5) - n / 2));
  // Neighbours are read together, columns far from each other alone, but at the same time.
  const all = perColumn < 4 * n ? readFrom(starts[0], starts.at(-1) + n) : null;
  const parts = all ? starts.map(() => all) : starts.map((start) => readFrom(start, start + n));
  for (const [i, part] of parts.entries()) {
    const { origin, samples } = await part, base = (first + i) * N_MELS;
    for (let start = starts[i]; start < starts[i] + n; start += nFft) {
      for (let k = 0; k < nFft; k++) frame[k] = samples[start + k - origin] ?? 0;
      column(frame).forEach((power, bin) => { values[base + bin] = Math.max(values[base + bin], power); });
    }
  }
}

async function readFrom(from, to) {
  const origin = Math.max(0, from);
  return { origin, samples: await recording.read(origin, Math.max(origin, to)) };
}

/** Lets messages that have arrived be handled. */
const pause = () => new Promise((resolve) => { setTimeout(resolve); });
