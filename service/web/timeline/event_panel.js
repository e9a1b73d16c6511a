// Below a timeline: the selected event, its correct label, and steps to its neighbours.
import { createLabelInput, showName } from "../labels.js";
import { EventMap } from "./event_map.js";
import { timeText } from "./time_text.js";

export class EventPanel {
  /**
   * `on` has the callbacks step(by), play(), correct(index, label), which gives {text, bad}, and
   * cut(event), which gives a promise of its WAV file, or of null.
   */
  constructor(root, events, { labels, multiLabel, requestMap, correctionOf }, on) {
    Object.assign(this, { root, events, labels, multiLabel, correctionOf, on });
    this.index = -1;
    const map = root.querySelector(".event-map");
    if (requestMap) this.map = new EventMap(map, labels, on.cut, requestMap);
    else map.remove();
    root.querySelector(".previous").onclick = () => on.step(-1);
    root.querySelector(".next").onclick = () => on.step(1);
    root.querySelector(".play").onclick = () => on.play();
  }

  show(index) {
    if (index === this.index) return;
    this.index = index;
    const { start, end, label, score } = this.events[index];
    const $ = (name) => this.root.querySelector(name);
    showName($(".event-label"), label);
    $(".event-facts").textContent =
      `${(100 * score).toFixed(1)} % · ${timeText(start, 2)} to ${timeText(end, 2)} · event ${index + 1} of ${this.events.length}`;
    $(".previous").disabled = index === 0;
    $(".next").disabled = index === this.events.length - 1;
    createLabelInput($(".event-choice"), `Correct label of event ${index + 1}`, this.labels, this.multiLabel,
      (correct) => this.submit(index, correct), this.correctionOf(index));
    this.say("");
    this.root.hidden = false;
    this.map?.show(this.events[index]);
  }

  async submit(index, correct) {
    this.root.querySelector(".correct-label").classList.toggle("corrected", correct !== "");
    const { text, bad } = await this.on.correct(index, correct);
    if (index === this.index) this.say(text, bad);
  }

  say(text, bad = false) {
    const status = this.root.querySelector(".event-status");
    status.textContent = text;
    status.classList.toggle("bad", bad);
  }
}
