// Corrections, stored in this browser until they are downloaded as a labels CSV. A correction is of a
// whole file, or of a stretch of one.
import { downloadCsv } from "./csv.js";

// Pages of one host share its storage: each folder has a key, that of the host itself without a path.
const STORAGE_KEY = `earful.corrections${new URL(".", document.baseURI).pathname.slice(0, -1)}`;

export class Corrections {
  /** `changed` is called when those in this browser have changed. */
  constructor(changed) {
    this.changed = changed;
    this.labels = new Map(); // id of a target -> its correct label in this page
    this.pending = new Map(); // id -> promise of the latest submission
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
    return this.storeLocally(target, label);
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
