// The rate at which the browser's decoder is asked for the samples of a compressed file.
// It resamples to that rate; from there, resample.js does, which is the same in every browser.

const UNKNOWN_HZ = 48_000; // of most phones and of Opus; for others the upper band is lost, if any
const VORBIS_AT = 28; // after the header of the first Ogg page, which has one segment (RFC 3533)

/** The rate of an Ogg Vorbis file by its first header (Vorbis I, section 4.2.2), or a rate that suits any. */
export async function codedRate(file) {
  const head = new DataView(await file.slice(0, VORBIS_AT + 16).arrayBuffer());
  if (head.byteLength < VORBIS_AT + 16) return UNKNOWN_HZ;
  const text = (from, length) => String.fromCharCode(...new Uint8Array(head.buffer, from, length));
  const isVorbis = text(0, 4) === "OggS" && text(VORBIS_AT, 7) === "\x01vorbis";
  return isVorbis ? head.getUint32(VORBIS_AT + 12, true) : UNKNOWN_HZ;
}
