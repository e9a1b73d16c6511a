// The page's side of the worker that runs the model.
import { AudioError } from "./audio_limits.js";
import { decodeFile } from "./decode_file.js";

// A browser gives no reason.
const NOT_STARTED = "worker.js does not start: a file of the site is missing or does not load, or this browser is too old"
  + " (it needs module workers)";

export class Engine {
  /** Open the model that model.json in the folder `base` describes; throws an Error if it cannot run here. */
  static async open(base) {
    const engine = new Engine(); // whose worker loads at the same time
    const response = await fetch(new URL("model.json", base), { cache: "no-cache" }).catch(() => null);
    if (!response?.ok) throw new Error("the file model.json does not load");
    engine.model = await response.json().catch(() => null);
    if (!engine.model?.runtime) throw new Error("the file model.json is damaged; upload the folder again");
    await engine.ask("open", { model: engine.model, base: String(base) });
    return engine;
  }

  constructor() {
    this.model = this.failure = null;
    this.waiting = new Map(); // id of a request -> {resolve, reject, progress}
    this.nextId = 1;
    this.onLive = () => {};
    this.cancelled = new AbortController(); // of what is classified now
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => this.fail(event.message || NOT_STARTED);
  }

  receive({ id, ok, error, progress, live }) {
    if (live) return this.onLive(live);
    const request = this.waiting.get(id);
    if (!request) return; // it was rejected when the worker failed
    if (progress !== undefined) return request.progress(progress);
    this.waiting.delete(id);
    if (error?.code === "AbortError") request.reject(new DOMException(error.message, "AbortError"));
    else if (error) request.reject(new AudioError(error.code, error.message));
    else request.resolve(ok);
  }

  fail(message) {
    this.failure = new Error(message);
    for (const { reject } of this.waiting.values()) reject(this.failure);
    this.waiting.clear();
  }

  ask(kind, request = {}, { progress = () => {}, moved = [] } = {}) {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.waiting.set(this.nextId, { resolve, reject, progress });
      this.worker.postMessage({ ...request, kind, id: this.nextId++ }, moved);
    });
  }

  /** The prediction for a file; throws an AudioError, or an AbortError after `cancel`. */
  async classify(file, reject, progress) {
    const { signal } = this.cancelled;
    const prediction = await this.ask("classify", { file, reject }, { progress });
    if (prediction) return prediction;
    const { samples, rateHz } = await decodeFile(file, signal);
    return this.ask("classify", { samples, rateHz, reject }, { progress, moved: [samples.buffer] });
  }

  cancel() {
    this.cancelled.abort();
    this.cancelled = new AbortController();
    this.worker.postMessage({ kind: "cancel" });
  }
}
