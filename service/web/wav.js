// WAV files: write samples as one, and read one in pieces, so that an hour never is in memory.

const MAX_CHUNKS = 1000; // before the samples; writers make a dozen at most
const PCM = 1, FLOAT = 3, EXTENSIBLE = 0xfffe;

/** Float samples to 16-bit integers. */
export function toPcm16(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) pcm[i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768)));
  return pcm;
}

/** A mono 16-bit WAV file. */
export function writeWav(samples, rateHz) {
  const format = new DataView(new ArrayBuffer(16));
  format.setUint16(0, PCM, true); format.setUint16(2, 1, true); format.setUint32(4, rateHz, true);
  format.setUint32(8, rateHz * 2, true); format.setUint16(12, 2, true); format.setUint16(14, 16, true);
  const pcm = toPcm16(samples);
  return new Blob([header(new Uint8Array(format.buffer), pcm.byteLength), pcm], { type: "audio/wav" });
}

/**
 * A recording {rateHz, length, channels, truncated, read, cut} of a WAV file; null for any other file.
 * `read(from, to)` gives mono Float32 samples, `cut(from, to)` a WAV file of exactly these samples,
 * with all channels and bits. Positions are in samples.
 */
export async function openWav(file) {
  const chunks = await findChunks(file);
  const format = chunks && parseFormat(chunks.format);
  if (!format) return null;
  const { channels, rateHz, decode, frameBytes } = format;
  const length = Math.floor(chunks.dataBytes / frameBytes);
  const slice = (from, to) => file.slice(
    chunks.dataStart + Math.max(0, from) * frameBytes, chunks.dataStart + Math.min(length, to) * frameBytes);
  return {
    rateHz,
    length,
    channels,
    truncated: chunks.truncated,
    read: async (from, to) => mixDown(decode(await slice(from, to).arrayBuffer()), channels),
    cut: async (from, to) => {
      const part = slice(from, to);
      return new Blob([header(chunks.format, part.size), part], { type: "audio/wav" });
    },
  };
}

async function findChunks(file) {
  const bytes = async (from, count) => new DataView(await file.slice(from, from + count).arrayBuffer());
  const text = (view, offset) => String.fromCharCode(...Array.from({ length: 4 }, (_, i) => view.getUint8(offset + i)));
  const head = await bytes(0, 12);
  if (head.byteLength < 12 || !["RIFF", "RF64"].includes(text(head, 0)) || text(head, 8) !== "WAVE") return null;
  let format = null;
  for (let position = 12, count = 0; position + 8 <= file.size && count < MAX_CHUNKS; count++) {
    const chunk = await bytes(position, 8);
    const name = text(chunk, 0), size = chunk.getUint32(4, true);
    if (name === "fmt " && !format) format = new Uint8Array((await bytes(position + 8, size)).buffer);
    if (name === "data") {
      const rest = file.size - position - 8;
      const isStreamed = isPlaceholder(size) || (size === 0 && head.getUint32(4, true) !== file.size - 8);
      const dataBytes = isStreamed ? rest : Math.min(size, rest);
      return format && { format, dataStart: position + 8, dataBytes, truncated: !isStreamed && rest < size };
    }
    position += 8 + size + (size % 2);
  }
  return null;
}

/** Whether a size stands for an unknown length, as in files that are written as a stream or have 4 GB. */
const isPlaceholder = (size) => (size >= 0x7ffff000 && size <= 0x80000000) || size >= 0xfffff000;

function parseFormat(bytes) {
  if (bytes.length < 16) return null;
  const view = new DataView(bytes.buffer);
  const tag = view.getUint16(0, true), bits = view.getUint16(14, true);
  const kind = tag === EXTENSIBLE && bytes.length >= 26 ? view.getUint16(24, true) : tag;
  const decode = DECODERS[`${kind}/${bits}`];
  const channels = view.getUint16(2, true), rateHz = view.getUint32(4, true);
  if (!decode || !channels || view.getUint16(12, true) !== (channels * bits) / 8) return null;
  return { channels, rateHz, decode, frameBytes: (channels * bits) / 8 };
}

/** From (format tag)/(bits) to a function from bytes to samples in [-1, 1]. */
const DECODERS = {
  [`${PCM}/8`]: (buffer) => Float32Array.from(new Uint8Array(buffer), (x) => (x - 128) / 128),
  [`${PCM}/16`]: (buffer) => {
    const pcm = new Int16Array(buffer), samples = new Float32Array(pcm.length);
    for (let i = 0; i < pcm.length; i++) samples[i] = pcm[i] / 32768;
    return samples;
  },
  [`${PCM}/24`]: (buffer) => {
    const pcm = new Uint8Array(buffer), samples = new Float32Array(pcm.length / 3);
    for (let i = 0; i < samples.length; i++) {
      samples[i] = ((pcm[3 * i] << 8) | (pcm[3 * i + 1] << 16) | (pcm[3 * i + 2] << 24)) / 2 ** 31;
    }
    return samples;
  },
  [`${PCM}/32`]: (buffer) => Float32Array.from(new Int32Array(buffer), (x) => x / 2 ** 31),
  [`${FLOAT}/32`]: (buffer) => new Float32Array(buffer),
  [`${FLOAT}/64`]: (buffer) => Float32Array.from(new Float64Array(buffer)),
};

function mixDown(samples, channels) {
  if (channels === 1) return samples;
  const mono = new Float32Array(samples.length / channels);
  for (let i = 0; i < mono.length; i++) {
    for (let c = 0; c < channels; c++) mono[i] += samples[i * channels + c] / channels;
  }
  return mono;
}

function header(format, dataBytes) {
  const bytes = new Uint8Array(28 + format.length), view = new DataView(bytes.buffer);
  const text = (offset, value) => [...value].forEach((c, i) => view.setUint8(offset + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, bytes.length - 8 + dataBytes, true); text(8, "WAVEfmt ");
  view.setUint32(16, format.length, true);
  bytes.set(format, 20);
  text(20 + format.length, "data"); view.setUint32(24 + format.length, dataBytes, true);
  return bytes;
}
