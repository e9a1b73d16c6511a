// Decodes a file with the browser's own decoder, for what read_audio.js cannot read.
import { decode } from "../sound.js";
import { AudioError, checkSeconds } from "./audio_limits.js";
import { codedRate } from "./coded_rate.js";

// It is decoded as a whole, at first at the file's own rate and with all its channels: about 20 MB a minute.
const MAX_DECODED_SECONDS = 1800;

/** {samples, rateHz} of a file, mono; throws an AudioError. */
export async function decodeFile(file) {
  checkSeconds(await playerSeconds(file), MAX_DECODED_SECONDS);
  const rateHz = await codedRate(file);
  const samples = await decode(await file.arrayBuffer(), rateHz);
  if (!samples) {
    throw new AudioError("unsupported_format",
      "this browser cannot decode it: not audio, damaged, or a format it does not know; WAV works in every browser");
  }
  if (!samples.length) throw new AudioError("empty_audio", "the file has a header and no samples");
  checkSeconds(samples.length / rateHz, MAX_DECODED_SECONDS);
  return { samples, rateHz };
}

/** The length that the browser's player finds in a file, without decoding it; 0 if it finds none. */
function playerSeconds(file) {
  return new Promise((resolve) => {
    const audio = new Audio(), url = URL.createObjectURL(file);
    const done = (seconds) => {
      URL.revokeObjectURL(url);
      resolve(Number.isFinite(seconds) ? seconds : 0);
    };
    audio.onloadedmetadata = () => done(audio.duration);
    audio.onerror = () => done(0);
    audio.preload = "metadata";
    audio.src = url;
  });
}
