// Corrections: sent to the server if it takes feedback, else stored in this browser until they are
// downloaded as a labels CSV. A correction is of a whole file, or of a stretch of one.
import { downloadCsv } from "./csv.js";
import { annotator, classifyClip, feedbackStatus, sendFeedback } from "./feedback.js";

const STORAGE_KEY = "earful.corrections";

export class Corrections {
  /** `key` gives the API key; `changed` is called when those in this browser have changed. */
  constructor(key, changed) {
    Object.assign(this, { key, changed });
    this.settings = { feedback: false, save_recordings: "off" };
    this.labels = new Map(); // id of a target -> its correct label in this page
    this.sent = new Set(); // ids whose latest label the server has
    this.pending = new Map(); // id -> promise of the latest submission
  }

  async load() {
    this.settings = await feedbackStatus();
  }

  labelOf(target) {
    return this.labels.get(target.id) ?? "";
  }

  /**
   * Submit the correct label of a target, or take it back with "". A target has id, name (to show),
   * filename, predicted and version; a whole file prediction_id and file; a stretch start, end and
   * cut(), a promise of its audio file, or of null.
   * Gives {text, bad}: what has become of it.
   */
  submit(target, label) {
    this.labels.set(target.id, label);
    // One after the other, because the last one counts.
    const outcome = (this.pending.get(target.id) ?? Promise.resolve()).then(() => this.submitNext(target, label));
    this.pending.set(target.id, outcome);
    return outcome;
  }

  async submitNext(target, label) {
    const canSend = this.settings.feedback && (target.cut || target.prediction_id);
    if (!canSend || (!label && !this.sent.has(target.id))) return this.storeLocally(target, label);
    try {
      const saved = await (target.cut ? this.sendStretch(target, label) : this.sendFile(target, label));
      if (label) this.sent.add(target.id);
      else this.sent.delete(target.id);
      // A stretch that nobody has saved can still be trained on with the file it is from.
      this.storeLocally(target, target.cut && !saved ? label : "");
      if (!label) return { text: `Correction withdrawn: ${target.name}.`, bad: false };
      return { text: `Correction sent: ${target.name} is ${label} (recording ${saved ? "" : "not "}saved).`, bad: false };
    } catch (error) {
      const stored = this.storeLocally(target, label);
      return stored.bad ? stored
        : { text: `The correction was not sent and is stored in this browser: ${error.message}`, bad: true };
    }
  }

  /** Whether the server has saved the recording. */
  async sendFile(target, label) {
    const withAudio = this.settings.save_recordings !== "off" && label;
    const annotation = { ...this.annotation(label), prediction_id: target.prediction_id };
    return (await sendFeedback(this.key(), annotation, withAudio ? target.file : null)).recording_saved;
  }

  /** The stretch is a clip of its own: the server classifies it, and stores the label for it. */
  async sendStretch(target, label) {
    const clip = await target.cut();
    if (!clip) throw new Error("this browser cannot cut the recording");
    if (label) return (await sendFeedback(this.key(), this.annotation(label), clip)).recording_saved;
    const { prediction_id } = await classifyClip(this.key(), clip);
    return (await sendFeedback(this.key(), { ...this.annotation(label), prediction_id })).recording_saved;
  }

  annotation(label) {
    return { label: label || null, annotator: annotator(), source: "page" };
  }

  storeLocally({ id, filename, predicted, version, start, end }, label) {
    const others = this.stored().filter((other) => other.id !== id);
    if (label) others.push({ id, filename, label, start, end, predicted, version });
    let text = label ? "The correction is stored in this browser: download it below." : "";
    let bad = false;
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(others));
    } catch {
      text = "The browser's storage is full; download the corrections and delete them here.";
      bad = true;
    }
    this.changed();
    return { text, bad };
  }

  /** The corrections in this browser. */
  stored() {
    try {
      return JSON.parse(localStorage.getItem(STORAGE_KEY)) ?? [];
    } catch {
      return [];
    }
  }

  download() {
    const stored = this.stored(), hasTimes = stored.some(({ start }) => start !== undefined);
    const columns = hasTimes ? ["filename", "label", "start", "end"] : ["filename", "label"];
    downloadCsv("corrections.csv", [columns, ...stored.map((correction) => columns.map((name) => correction[name]))]);
  }

  delete() {
    localStorage.removeItem(STORAGE_KEY);
    this.changed();
  }
}
