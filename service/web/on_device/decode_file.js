// Decodes a file with the browser's own decoder, for what read_audio.js cannot read.
import { decode } from "../sound.js";
import { AudioError } from "./audio_limits.js";
import { codedRate } from "./coded_rate.js";

// It is decoded as a whole, at first at the file's own rate and with all its channels: about 20 MB a minute.
const MAX_DECODED_SECONDS = 1800;
const MAX_BYTES_OF_UNKNOWN_LENGTH = 4_000_000; // half an hour at 18 kbit/s, which is little for speech
// A browser may answer never, or for another tab's sake late.
const PLAYER_TIMEOUT_MS = 15_000, DECODER_TIMEOUT_MS = 120_000;
const ADVICE = "cut it, or write it as WAV, which is read in pieces";

/** {samples, rateHz} of a file, mono; throws an AudioError, or the reason of `signal`. */
export async function decodeFile(file, signal) {
  checkLength(file, await within(PLAYER_TIMEOUT_MS, (ended) => playerSeconds(file, ended), signal));
  const rateHz = await codedRate(file);
  const bytes = await file.arrayBuffer();
  const samples = await within(DECODER_TIMEOUT_MS, () => decode(bytes, rateHz), signal);
  if (samples === undefined) {
    throw new AudioError("unsupported_format", `this browser's decoder has not answered in ${DECODER_TIMEOUT_MS / 1000} s; ${ADVICE}`);
  }
  if (!samples) {
    throw new AudioError("unsupported_format",
      "this browser cannot decode it: not audio, damaged, or a format it does not know; WAV of PCM or float samples works in every browser");
  }
  if (!samples.length) throw new AudioError("empty_audio", "the file has a header and no samples");
  checkLength(file, samples.length / rateHz);
  return { samples, rateHz };
}

function checkLength({ size }, seconds) {
  if (seconds > MAX_DECODED_SECONDS) {
    throw new AudioError("too_long", `${seconds.toFixed(1)} s; this browser decodes at most ${MAX_DECODED_SECONDS} s of this format at once: ${ADVICE}`);
  }
  if (seconds === undefined && size > MAX_BYTES_OF_UNKNOWN_LENGTH) {
    throw new AudioError("too_large", `this browser cannot tell how long it is; of such files at most `
      + `${MAX_BYTES_OF_UNKNOWN_LENGTH} bytes are accepted, and it has ${size}: ${ADVICE}`);
  }
}

/**
 * What `start(ended)` gives; undefined if it takes longer. The browser may go on, but nobody waits for it:
 * the signal `ended` aborts.
 */
async function within(timeoutMs, start, signal) {
  const ended = new AbortController();
  let timer, cancel;
  const over = new Promise((resolve, reject) => {
    timer = setTimeout(resolve, timeoutMs);
    cancel = () => reject(signal.reason);
  });
  signal.addEventListener("abort", cancel);
  try {
    signal.throwIfAborted();
    return await Promise.race([start(ended.signal), over]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cancel);
    ended.abort();
  }
}

/** The length that the browser's player finds in a file, without decoding it; undefined if it finds none. */
async function playerSeconds(file, signal) {
  const audio = new Audio(), url = URL.createObjectURL(file);
  audio.preload = "metadata";
  audio.src = url;
  try {
    await happens(audio, "loadedmetadata", signal);
    if (audio.duration === Infinity) { // as of what a browser has recorded: it knows once it has seen the end
      audio.currentTime = Number.MAX_SAFE_INTEGER;
      await happens(audio, "durationchange", signal);
    }
    return Number.isFinite(audio.duration) ? audio.duration : undefined;
  } catch {
    return undefined; // the decoder says what it is
  } finally {
    audio.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
}

/** The next event `name` of a player; rejected at an error, and once `signal` aborts. */
const happens = (audio, name, signal) => new Promise((resolve, reject) => {
  signal.throwIfAborted();
  signal.addEventListener("abort", reject, { once: true });
  audio.addEventListener(name, resolve, { once: true });
  audio.addEventListener("error", reject, { once: true });
});
