// The model in ONNX Runtime Web: one thread, so that no header of the server is needed.

/** A function from clips (Float32Arrays) to a promise of one Float32Array of scores a clip. */
export async function openSession(model, base) {
  if (typeof WebAssembly !== "object") {
    throw new Error("this browser has no WebAssembly, or it is switched off; use another browser, or allow it");
  }
  const [content, ort] = await Promise.all([download(new URL(model.file, base)), import(new URL(model.runtime.script, base))]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL(model.runtime.wasm, base).href };
  const session = await ort.InferenceSession.create(new Uint8Array(content), { executionProviders: ["wasm"] });
  const run = (clips) => runClips(ort, session, model, clips);
  await checkGolden(model, run);
  return run;
}

async function download(url) {
  const response = await fetch(url, { cache: "no-cache" }).catch(() => null); // never that of an earlier export
  if (!response?.ok) throw new Error(`the file ${url.pathname} does not load (${response?.status ?? "no response"})`);
  return response.arrayBuffer();
}

async function runClips(ort, session, { clip_samples, labels }, clips) {
  const waveform = new Float32Array(clips.length * clip_samples);
  clips.forEach((clip, i) => waveform.set(clip, i * clip_samples));
  const input = new ort.Tensor("float32", waveform, [clips.length, clip_samples]);
  const { probabilities } = await session.run({ waveform: input }, ["probabilities"]);
  const scores = Float32Array.from(probabilities.data);
  probabilities.dispose();
  return clips.map((_, i) => scores.slice(i * labels.length, (i + 1) * labels.length));
}

/** As at every other start of the model: it must give the scores for the waveform that it gave at export. */
async function checkGolden({ golden, clip_samples }, run) {
  const bytes = Uint8Array.from(atob(golden.waveform_int16_base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const clip = Float32Array.from({ length: clip_samples }, (_, i) => view.getInt16(2 * i, true) / 32768);
  const [scores] = await run([clip]);
  const drift = Math.max(...golden.probabilities.map((expected, i) => Math.abs(expected - scores[i])));
  if (!(drift <= golden.tolerance)) {
    throw new Error(`the model does not reproduce its golden example here (off by ${drift.toPrecision(2)}); export it again`);
  }
}
