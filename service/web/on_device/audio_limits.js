// What audio is accepted, and the error of audio that is not: data/audio/limits.py in JavaScript.

const MAX_BYTES = 2 ** 30;
export const MAX_SECONDS = 3600;
const MIN_RATE_HZ = 4_000, MAX_RATE_HZ = 192_000;
const MAX_CHANNELS = 8;
const MAX_MAGNITUDE = 100; // full scale is 1; a hundred times more means other units

/** Unusable audio; `code` is one of data/audio/decode.py, the message is for people. */
export class AudioError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function checkBytes({ size }) {
  if (size === 0) throw new AudioError("empty_audio", "the file is empty");
  if (size > MAX_BYTES) throw new AudioError("too_large", `${size} bytes; at most ${MAX_BYTES} are accepted`);
}

/** Refuse a recording {rateHz, length, channels, truncated} by what its header says. */
export function checkHeader({ rateHz, length, channels = 1, truncated = false }) {
  if (rateHz < MIN_RATE_HZ || rateHz > MAX_RATE_HZ) {
    throw new AudioError("bad_sample_rate",
      `the sample rate is ${rateHz} Hz; accepted are ${MIN_RATE_HZ} to ${MAX_RATE_HZ} Hz`);
  }
  if (channels > MAX_CHANNELS) {
    throw new AudioError("too_many_channels", `${channels} channels; at most ${MAX_CHANNELS} are accepted`);
  }
  checkSeconds(length / rateHz);
  if (truncated) throw new AudioError("truncated", "the header declares more audio than the file holds");
  if (length === 0) throw new AudioError("empty_audio", "the file has a header and no samples");
}

export function checkSeconds(seconds, most = MAX_SECONDS) {
  if (seconds > most) throw new AudioError("too_long", `${seconds.toFixed(1)} s; at most ${most} s are accepted`);
}

export function checkSamples(samples) {
  let peak = 0;
  for (const x of samples) peak = Number.isFinite(x) ? Math.max(peak, Math.abs(x)) : Infinity;
  if (peak === Infinity) throw new AudioError("not_finite", "contains NaN or infinite samples; write the file again");
  if (peak > MAX_MAGNITUDE) {
    throw new AudioError("out_of_range", `samples reach ${peak.toPrecision(3)}, full scale is 1.0; scale them to -1 .. 1`);
  }
}
