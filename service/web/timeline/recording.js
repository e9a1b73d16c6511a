// A long recording opened in a worker: peaks that grow while it is read, spectrograms, and cuts.
import { DISPLAY_RATE_HZ, decode } from "../sound.js";
import { Peaks } from "./peaks.js";

// What the worker cannot read in pieces is decoded as a whole, at first at the file's own rate and with
// all its channels: about 20 MB a minute.
const MAX_DECODED_SECONDS = 1800;

/**
 * Open a file of `seconds`; `onPeaks` is called whenever `peaks` has grown. Null if this browser
 * cannot read it, or it would take too much memory.
 */
export async function openRecording(file, seconds, rateHz, onPeaks) {
  const worker = new Worker(new URL("./recording_worker.js", import.meta.url), { type: "module" });
  const waiting = new Map(); // id of a request -> its resolve
  let nextId = 1, peaks = null, opened;
  worker.onmessage = ({ data }) => {
    if ("opened" in data) opened(data.opened);
    if (data.peaks) peaks.add(data.peaks);
    if (data.peaks || data.done) onPeaks();
    const answer = data.mel ?? data.cut;
    if (answer) waiting.get(answer.id)(answer.values ?? answer.blob ?? null);
    if (answer) waiting.delete(answer.id);
  };
  let failed = false; // a browser without module workers
  const open = (content, moved = []) => new Promise((resolve) => {
    opened = (info) => {
      if (info) peaks = new Peaks(info.length, info.rateHz);
      resolve(info);
    };
    worker.onerror = () => {
      failed = true;
      resolve(null);
    };
    worker.postMessage({ open: content }, moved);
  });
  const ask = (kind, request) => new Promise((resolve) => {
    waiting.set(nextId, resolve);
    worker.postMessage({ [kind]: { ...request, id: nextId++ } });
  });

  let info = await open({ file });
  if (!info && !failed && seconds <= MAX_DECODED_SECONDS) {
    const rate = Math.max(rateHz, DISPLAY_RATE_HZ);
    const samples = await decode(await file.arrayBuffer(), rate);
    if (samples?.length) info = await open({ samples, rateHz: rate }, [samples.buffer]);
  }
  if (!info) {
    worker.terminate();
    return null;
  }
  const toSample = (time) => Math.round(time * info.rateHz);
  return {
    peaks,
    rateHz: info.rateHz,
    /** The log-mel powers of a stretch in `columns` parts; null if a later call replaced this one. */
    mel: (start, end, columns) => ask("mel", { from: toSample(start), to: toSample(end), columns }),
    /** A WAV file of a stretch; null if the file has gone. */
    cut: (start, end) => ask("cut", { from: toSample(start), to: Math.min(info.length, toSample(end)) }),
    close: () => worker.terminate(),
  };
}
