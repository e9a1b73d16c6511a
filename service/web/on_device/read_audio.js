// Reads a file to mono samples at the model's rate, in pieces, off the page's thread.
import { openFlac } from "../flac.js";
import { openMp3 } from "../mp3.js";
import { openWav } from "../wav.js";
import { AudioError, checkBytes, checkHeader, checkSamples } from "./audio_limits.js";
import { Resampler } from "./resample.js";

const SAMPLES_PER_READ = 1 << 18;

/**
 * The samples of a file; null for one that only the page's own decoder can read.
 * Throws an AudioError for a WAV file that is damaged or beyond the limits.
 */
export async function readAudio(file, rateHz, between) {
  checkBytes(file);
  const wav = await openWav(file);
  if (wav) return readRecording(wav, rateHz, between);
  const coded = (await openFlac(file)) ?? (await openMp3(file));
  if (!coded) return null;
  try {
    return await readRecording(coded, rateHz, between);
  } catch (error) {
    if (error.name === "AbortError" || error instanceof AudioError) throw error;
    return null; // the page's decoder may read it, or says that it is damaged
  }
}

async function readRecording(recording, rateHz, between) {
  checkHeader(recording);
  const resampler = new Resampler(recording.rateHz, rateHz), parts = [];
  for (let from = 0; from < recording.length; from += SAMPLES_PER_READ) {
    const samples = await recording.read(from, Math.min(recording.length, from + SAMPLES_PER_READ));
    checkSamples(samples);
    parts.push(resampler.feed(samples));
    await between();
  }
  parts.push(resampler.finish());
  return join(parts);
}

function join(parts) {
  const samples = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    samples.set(part, offset);
    offset += part.length;
  }
  return samples;
}
