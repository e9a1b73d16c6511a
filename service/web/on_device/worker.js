// Runs the model off the page's thread. Each request {id, kind, ...} has one answer {id, ok} or {id, error}.
//   open      {model, base}                      opens the session
//   classify  {file} or {samples, rateHz}, {reject}
//                                                a prediction; null if the page must decode the file first;
//                                                {id, progress} from time to time
//   start     {rateHz, reject}                   begins a live stream, of which there is one at most;
//                                                {live: message} for each of its messages
//   feed      {chunk}                            the next samples of the stream
//   stop      {}                                 its end
//   cancel    {}                                 ends what is being classified with an AbortError
import { AudioError } from "./audio_limits.js";
import { Classifier } from "./classifier.js";
import { LiveStream } from "./live_stream.js";
import { readAudio } from "./read_audio.js";
import { resample } from "./resample.js";
import { openSession } from "./session.js";

let classifier, stream, cancels = 0;
let queue = Promise.resolve(); // one request after the other: they share the session

const HANDLERS = {
  open: async ({ model, base }) => {
    classifier = new Classifier(model, await openSession(model, base));
  },
  classify: async ({ id, file, samples, rateHz, reject, cancelled }) => {
    const between = async (part) => {
      if (part !== undefined) postMessage({ id, progress: part });
      await new Promise((resolve) => { setTimeout(resolve); }); // lets a message that cancels arrive
      if (cancels !== cancelled) throw new DOMException("cancelled", "AbortError");
    };
    await between();
    const modelHz = classifier.model.sample_rate_hz;
    const waveform = file ? await readAudio(file, modelHz, between) : resample(samples, rateHz, modelHz);
    return waveform && classifier.classify(waveform, reject, between);
  },
  start: async ({ rateHz, reject }) => {
    stream = new LiveStream(classifier, rateHz, reject, (message) => postMessage({ live: message }));
  },
  feed: ({ chunk }) => stream?.feed(chunk),
  stop: async () => {
    await stream?.finish();
    stream = null;
  },
};

self.onmessage = ({ data }) => {
  const cancelled = cancels;
  if (data.kind === "cancel") cancels += 1;
  else queue = queue.then(() => answer({ ...data, cancelled }));
};

async function answer(request) {
  try {
    postMessage({ id: request.id, ok: (await HANDLERS[request.kind](request)) ?? null });
  } catch (error) {
    const code = error instanceof AudioError ? error.code : error.name;
    postMessage({ id: request.id, error: { code, message: error.message || String(error) } });
  }
}
