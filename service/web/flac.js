// The frames of a FLAC file, found without decoding them. Source: RFC 9639, sections 8 and 9.
import { openFrames } from "./coded.js";

const STREAMINFO_END = 4 + 4 + 34; // "fLaC", a block's header, the block
const MAX_HEADER_BYTES = 16;
const BLOCK_BYTES = 1 << 22;

/** The recording of a FLAC file, as from `openFrames`; null for any other file. */
export async function openFlac(file) {
  const head = new Uint8Array(await file.slice(0, STREAMINFO_END).arrayBuffer());
  if (head.length < STREAMINFO_END || String.fromCharCode(...head.slice(0, 4)) !== "fLaC") return null;
  const view = new DataView(head.buffer, 8), packed = view.getUint32(10);
  const least = view.getUint16(0), most = view.getUint16(2);
  if (least !== most) return null; // a variable block size, which hardly any encoder uses
  const total = (packed & 15 ? 0 : view.getUint32(14)) || null;
  const start = await skipMetadata(file);
  const offsets = await findFrames(file, start);
  const recording = await openFrames(file, {
    config: {
      codec: "flac", sampleRate: view.getUint32(10) >>> 12, numberOfChannels: ((packed >> 9) & 7) + 1,
      description: lastBlock(head),
    },
    offsets,
    samplesPerFrame: most,
    skipped: 0,
    length: total ?? (offsets.length - 1) * most,
  });
  return recording && { ...recording, truncated: total !== null && (offsets.length - 1) * most < total };
}

/** The head of the file with the mark that no other block follows. */
function lastBlock(head) {
  const copy = head.slice();
  copy[4] |= 0x80;
  return copy;
}

async function skipMetadata(file) {
  for (let position = 4; ;) {
    const header = new Uint8Array(await file.slice(position, position + 4).arrayBuffer());
    if (header.length < 4) return file.size;
    position += 4 + ((header[1] << 16) | (header[2] << 8) | header[3]);
    if (header[0] & 0x80) return position;
  }
}

/** First byte of each frame, and the end of the last. */
async function findFrames(file, start) {
  const offsets = [];
  for (let origin = start; origin < file.size; origin += BLOCK_BYTES) {
    const bytes = new Uint8Array(await file.slice(origin, origin + BLOCK_BYTES + MAX_HEADER_BYTES).arrayBuffer());
    for (let i = bytes.indexOf(0xff); i >= 0 && i < BLOCK_BYTES; i = bytes.indexOf(0xff, i + 1)) {
      // The sync code also occurs inside frames: the number must be the next one, too.
      if (bytes[i + 1] === 0xf8 && frameNumber(bytes, i) === offsets.length) offsets.push(origin + i);
    }
  }
  return [...offsets, file.size];
}

/** The number of the frame that starts here; -1 if none does. */
function frameNumber(bytes, i) {
  const size = bytes[i + 2] >> 4, rate = bytes[i + 2] & 15, channels = bytes[i + 3] >> 4;
  if (!size || rate === 15 || channels > 10 || bytes[i + 3] & 1) return -1;
  const lead = bytes[i + 4], more = lead < 0x80 ? 0 : Math.clz32(~(lead << 24)) - 1; // as in UTF-8
  if (more > 5 || (lead & 0xc0) === 0x80) return -1;
  let number = more ? lead & (0x3f >> more) : lead;
  for (let k = 1; k <= more; k++) {
    if ((bytes[i + 4 + k] & 0xc0) !== 0x80) return -1;
    number = number * 64 + (bytes[i + 4 + k] & 0x3f);
  }
  const end = i + 5 + more + ({ 6: 1, 7: 2 }[size] ?? 0) + ({ 12: 1, 13: 2, 14: 2 }[rate] ?? 0);
  return crc8(bytes, i, end) === bytes[end] ? number : -1;
}

/** Polynomial x^8 + x^2 + x + 1. */
function crc8(bytes, from, to) {
  let crc = 0;
  for (let i = from; i < to; i++) {
    crc ^= bytes[i];
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 7) & 0xff : crc << 1;
  }
  return crc;
}
