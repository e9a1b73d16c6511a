// The frames of an MP3 file (MPEG-1, 2 and 2.5, layer III), found without decoding them.
// Source: ISO/IEC 11172-3 section 2.4.1.3, and the LAME tag, gabriel.mp3-tech.org/mp3infotag.html
import { openFrames } from "./coded.js";

const KBPS_MPEG1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const KBPS_MPEG2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const RATES_HZ = [44100, 48000, 32000]; // of MPEG-1; MPEG-2 has halves, 2.5 quarters
const DECODER_DELAY = 529; // samples, which LAME's tag does not count
const BLOCK_BYTES = 1 << 20;
const MAX_JUNK_BYTES = 1 << 16;

/** The recording of an MP3 file, as from `openFrames`; null for any other file. */
export async function openMp3(file) {
  const head = new Uint8Array(await file.slice(0, 10).arrayBuffer());
  const start = isText(head, 0, "ID3") ? 10 + head.slice(6, 10).reduce((size, byte) => size * 128 + byte, 0) : 0;
  const first = parseHeader(new Uint8Array(await file.slice(start, start + 4).arrayBuffer()), 0);
  if (!first) return null;
  const offsets = await findFrames(file, start, first);
  if (offsets.length < 2) return null;
  const tag = parseTag(new Uint8Array(await file.slice(offsets[0], offsets[1]).arrayBuffer()), first);
  if (tag) offsets.shift(); // the tag's frame is silent, and no part of the recording
  const { delay, padding } = tag ?? { delay: 0, padding: 0 };
  return openFrames(file, {
    config: { codec: "mp3", sampleRate: first.rateHz, numberOfChannels: first.channels },
    offsets,
    samplesPerFrame: first.samples,
    skipped: delay,
    length: (offsets.length - 1) * first.samples - delay - padding,
  });
}

function parseHeader(bytes, i) {
  if (bytes[i] !== 0xff || (bytes[i + 1] & 0xe6) !== 0xe2) return null; // layer III
  const version = (bytes[i + 1] >> 3) & 3; // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
  const kbps = (version === 3 ? KBPS_MPEG1 : KBPS_MPEG2)[bytes[i + 2] >> 4], rate = RATES_HZ[(bytes[i + 2] >> 2) & 3];
  if (version === 1 || !kbps || !rate) return null;
  const samples = version === 3 ? 1152 : 576, channels = bytes[i + 3] >> 6 === 3 ? 1 : 2;
  const rateHz = rate / { 3: 1, 2: 2, 0: 4 }[version];
  const length = Math.floor((samples * 125 * kbps) / rateHz) + ((bytes[i + 2] >> 1) & 1);
  return { version, rateHz, channels, samples, length };
}

/** First byte of each frame like the first one, and the end of the last. */
async function findFrames(file, start, first) {
  const offsets = [];
  let block = new Uint8Array(0), origin = start, position = start, junk = 0, end = start;
  while (position + 4 <= file.size && junk < MAX_JUNK_BYTES) {
    if (position + 4 > origin + block.length) {
      origin = position;
      block = new Uint8Array(await file.slice(origin, origin + BLOCK_BYTES).arrayBuffer());
    }
    const frame = parseHeader(block, position - origin);
    if (frame?.rateHz === first.rateHz && frame.version === first.version && position + frame.length <= file.size) {
      offsets.push(position);
      position = end = position + frame.length;
      junk = 0;
    } else {
      position += 1;
      junk += 1;
    }
  }
  return [...offsets, end];
}

/** Delay and padding in samples, if the first frame is the tag of an encoder. */
function parseTag(bytes, { version, channels }) {
  const sideBytes = version === 3 ? (channels === 1 ? 17 : 32) : channels === 1 ? 9 : 17;
  const at = 4 + sideBytes;
  if (!isText(bytes, at, "Xing") && !isText(bytes, at, "Info")) return null;
  const flags = bytes[at + 7];
  const lame = at + 8 + (flags & 1 ? 4 : 0) + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
  if (bytes.length < lame + 24 || bytes[lame] === 0) return { delay: 0, padding: 0 };
  const delay = (bytes[lame + 21] << 4) | (bytes[lame + 22] >> 4);
  const padding = ((bytes[lame + 22] & 15) << 8) | bytes[lame + 23];
  return { delay: delay + DECODER_DELAY, padding: Math.max(0, padding - DECODER_DELAY) };
}

const isText = (bytes, at, text) => [...text].every((c, i) => bytes[at + i] === c.charCodeAt(0));
