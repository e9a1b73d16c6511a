// Corrections that are sent to the server if it takes feedback, else stored in this browser.
import { Corrections } from "./corrections.js";
import { annotator, classifyClip, feedbackStatus, sendFeedback } from "./feedback.js";

export class SentCorrections extends Corrections {
  /** `key` gives the API key; `changed` is called when those in this browser have changed. */
  constructor(key, changed) {
    super(changed);
    this.key = key;
    this.settings = { feedback: false, save_recordings: "off" };
    this.sent = new Set(); // ids whose latest label the server has
  }

  async load() {
    this.settings = await feedbackStatus();
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
}
