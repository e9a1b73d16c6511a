// Clips of the model's length from audio of any length: data/audio/windows.py in JavaScript.

/** Centre samples, at most a clip of them, in zeros. */
export function padToClip(samples, clipSamples) {
  const clip = new Float32Array(clipSamples);
  clip.set(samples, Math.floor((clipSamples - samples.length) / 2));
  return clip;
}

/** The clip that a recording is judged by: all of a short one, of a long one where it is loudest. */
export function loudestClip(samples, clipSamples) {
  if (samples.length <= clipSamples) return padToClip(samples, clipSamples);
  const start = loudestStart(samples, clipSamples);
  return samples.slice(start, start + clipSamples);
}

/** First sample of the clip-long window with the loudest centre. */
export function loudestStart(samples, clipSamples) {
  const block = Math.max(1, Math.floor(clipSamples / 64));
  const weighted = convolve(blockLoudness(samples, block), loudnessWeights(Math.floor(clipSamples / block)));
  const loudest = weighted.reduce((best, value) => Math.max(best, value), 0);
  const best = [...weighted.keys()].filter((i) => weighted[i] >= loudest * (1 - 1e-9));
  return Math.min(best[best.length >> 1] * block, samples.length - clipSamples);
}

/** A Hann window of `count` points, without its zeros. */
const loudnessWeights = (count) =>
  Float64Array.from({ length: count }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 1)) / (count + 1)));

/** The fourth root of the RMS of each block, after a first difference. */
function blockLoudness(samples, block) {
  const loudness = new Float64Array(Math.ceil(samples.length / block));
  let previous = samples[0];
  for (let n = 0, i = 0; n < loudness.length; n++) {
    const start = i, end = Math.min(samples.length, i + block);
    let sum = 0;
    for (; i < end; i++) {
      sum += (samples[i] - previous) ** 2;
      previous = samples[i];
    }
    loudness[n] = (sum / (end - start)) ** 0.125;
  }
  return loudness;
}

/** Sums of `values` weighted by symmetric `weights`, wherever these lie within them. */
function convolve(values, weights) {
  return Float64Array.from({ length: values.length - weights.length + 1 }, (_, first) => {
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += values[first + i] * weights[i];
    return sum;
  });
}
