// Reads compressed audio in pieces with the browser's own decoder (WebCodecs), so that an hour never is
// in memory.
import { writeWav } from "./wav.js";

const LEAD_FRAMES = 10; // decoded before a piece and left out: a frame may need those before it

/**
 * A recording {rateHz, length, read, cut}, as `openWav` gives it, of frames of compressed audio; null
 * if this browser has no decoder for them.
 *   config           of AudioDecoder
 *   offsets          first byte of each frame in the file, then the end of the last one
 *   samplesPerFrame  of every frame but the last
 *   skipped          samples at the start that are no sound, but the codec's delay
 *   length           samples after those
 */
export async function openFrames(file, { config, offsets, samplesPerFrame, skipped, length }) {
  const supported = globalThis.AudioDecoder && (await AudioDecoder.isConfigSupported(config).catch(() => null));
  if (!supported?.supported || offsets.length < 2) return null;
  const decode = createDecoder(config);
  let queue = Promise.resolve(); // one piece after the other: they share a decoder

  async function readPiece(from, to) {
    const first = Math.max(0, Math.floor((from + skipped) / samplesPerFrame) - LEAD_FRAMES);
    const last = Math.min(offsets.length - 1, Math.ceil((to + skipped) / samplesPerFrame) + 1);
    const bytes = await file.slice(offsets[first], offsets[last]).arrayBuffer();
    const frames = Array.from({ length: last - first }, (_, i) =>
      bytes.slice(offsets[first + i] - offsets[first], offsets[first + i + 1] - offsets[first]));
    const origin = first * samplesPerFrame - skipped;
    return (await decode(frames)).subarray(Math.max(0, from - origin), Math.max(0, to - origin));
  }
  const read = (from, to) => {
    const piece = queue.then(() => readPiece(Math.max(0, from), Math.min(length, to)));
    queue = piece.catch(() => {});
    return piece;
  };
  const rateHz = config.sampleRate;
  return { rateHz, length, read, cut: async (from, to) => writeWav(await read(from, to), rateHz) };
}

/** A function from frames (ArrayBuffers) to mono Float32 samples. */
function createDecoder(config) {
  let parts = [], failure = null;
  const create = () => {
    const decoder = new AudioDecoder({
      output: (audio) => {
        parts.push(mixDown(audio));
        audio.close();
      },
      error: (error) => { failure = error; },
    });
    decoder.configure(config);
    return decoder;
  };
  let decoder = create();
  return async (frames) => {
    parts = [];
    failure = null;
    if (decoder.state === "closed") decoder = create();
    frames.forEach((data, i) => decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: i, data })));
    await decoder.flush();
    if (failure) throw failure;
    const samples = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      samples.set(part, offset);
      offset += part.length;
    }
    return samples;
  };
}

function mixDown(audio) {
  const mono = new Float32Array(audio.numberOfFrames), channel = new Float32Array(audio.numberOfFrames);
  for (let c = 0; c < audio.numberOfChannels; c++) {
    audio.copyTo(channel, { planeIndex: c, format: "f32-planar" });
    for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / audio.numberOfChannels;
  }
  return mono;
}
