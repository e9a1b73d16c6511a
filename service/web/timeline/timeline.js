// The timeline of a long recording: what was said when, to see, hear, correct and download.
import { downloadCsv, downloadText } from "../csv.js";
import { audacityTrack, eventRows } from "../event_files.js";
import { showName } from "../labels.js";
import { drawAxis, drawPeaks, labelHue } from "./draw.js";
import { EventPanel } from "./event_panel.js";
import { addGestures } from "./gestures.js";
import { Lane } from "./lane.js";
import { Overview } from "./overview.js";
import { StretchPlayer } from "./player.js";
import { openRecording } from "./recording.js";
import { Spectrogram } from "./spectrogram.js";
import { timeText } from "./time_text.js";
import { View } from "./view.js";

const ZOOM_STEP = 1.6;
const UNREADABLE = "This browser cannot draw this recording; its events are listed all the same.";
const MAX_LEGEND_LABELS = 30;
let timelines = 0; // for ids

export class Timeline {
  /**
   * Fills a copy of the template `#timeline`. `model` has labels, multiLabel, rateHz and, perhaps, requestMap;
   * `corrections` has labelOf(event) and submit(event, label, cut), which gives {text, bad}.
   */
  constructor(root, { file, url, events, seconds, model, corrections }) {
    Object.assign(this, { root, file, model, corrections, events });
    this.view = new View(seconds);
    this.selected = -1;
    this.time = 0;
    const audio = this.find("audio");
    audio.src = url;
    this.player = new StretchPlayer(audio, (time) => this.showTime(time));
    const hueOf = (event) => labelHue(corrections.labelOf(event) || event.label, model.labels);
    const laneElement = this.find(".lane");
    laneElement.id = `lane-${timelines++}`;
    this.lane = new Lane(laneElement, this.events, hueOf, (index) => this.labelOf(index));
    this.panel = new EventPanel(this.find(".event-panel"), this.events,
      { ...model, correctionOf: (index) => corrections.labelOf(this.events[index]) },
      { step: (by) => this.step(by), play: () => this.playEvent(), correct: (index, label) => this.correct(index, label), cut: (event) => this.cut(event) });
    this.overview = new Overview(this.find(".overview"), this.view, this.events, hueOf, () => this.redraw());
    this.find(".legend").append(...legend(this.events, model.labels));
    this.addControls();
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(this.find(".plots"));
    this.opened = this.open(seconds);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  labelOf(index) {
    return this.corrections.labelOf(this.events[index]) || this.events[index].label;
  }

  addControls() {
    const zoom = (factor) => this.zoom(factor);
    this.find(".zoom-in").onclick = () => zoom(ZOOM_STEP);
    this.find(".zoom-out").onclick = () => zoom(1 / ZOOM_STEP);
    this.find(".zoom-all").onclick = () => zoom(0);
    this.find(".events-csv").onclick = () => downloadCsv(`${this.file.name}.events.csv`,
      eventRows(this.file.name, this.events, (index) => this.labelOf(index)));
    this.find(".events-audacity").onclick = () => downloadText(`${this.file.name}.labels.txt`,
      audacityTrack(this.events, (index) => this.labelOf(index)));
    addGestures(this.find(".plots"), this.view, () => this.redraw(), (event, x) => this.click(event, x));
    const page = (by) => { this.view.moveTo(this.view.start + by * this.view.span); this.redraw(); };
    const keys = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
      Home: () => this.select(0), End: () => this.select(this.events.length - 1),
      Enter: () => this.playEvent(), " ": () => this.playEvent(), Escape: () => this.player.stop(),
      PageUp: () => page(-1), PageDown: () => page(1),
      "+": () => zoom(ZOOM_STEP), "=": () => zoom(ZOOM_STEP), "-": () => zoom(1 / ZOOM_STEP), 0: () => zoom(0),
    };
    this.find(".lane").addEventListener("keydown", (event) => {
      const action = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }

  /** The selected event stays in place if it is in view, else the middle does. */
  zoom(factor) {
    const event = this.events[this.selected], { view } = this;
    const inView = event && event.end > view.start && event.start < view.end;
    view.zoom(factor, inView ? (event.start + event.end) / 2 : undefined);
    if (inView) view.reveal(event.start, event.end);
    this.redraw();
  }

  async open(seconds) {
    this.recording = await openRecording(this.file, seconds, this.model.rateHz, () => {
      this.overview.dirty = true;
      this.redraw();
    });
    if (this.closed) return this.close();
    if (!this.recording) {
      for (const plot of this.root.querySelectorAll(".signal")) plot.remove();
      this.find(".unreadable").textContent = UNREADABLE;
      this.find(".unreadable").hidden = false;
    } else {
      this.spectrogram = new Spectrogram(this.find(".mel canvas"), this.recording, seconds, () => this.redraw());
    }
    this.redraw();
  }

  resize() {
    this.view.setWidth(this.find(".plots").clientWidth);
    this.overview.dirty = true;
    this.redraw();
  }

  /** Draw at the next frame, once, however often it is asked for. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.view.span && this.root.isConnected) this.draw();
    });
  }

  draw() {
    const { view, recording } = this;
    drawAxis(this.find(".axis canvas"), view);
    this.lane.draw(view, this.selected);
    this.overview.draw(recording);
    if (recording) {
      const shown = `of ${this.file.name}, ${timeText(view.start)} to ${timeText(view.end)}`;
      drawPeaks(this.find(".wave canvas"), recording.peaks, recording.rateHz, view.start, view.end);
      this.spectrogram.draw(view);
      this.find(".wave canvas").setAttribute("aria-label", `Waveform ${shown}`);
      this.find(".mel canvas").setAttribute("aria-label", `Log-mel spectrogram ${shown}`);
    }
    const event = this.events[this.selected], mark = this.find(".selection");
    mark.hidden = !event;
    if (event) placeBetween(mark, view.toPixels(event.start), view.toPixels(event.end), view.width);
    const playhead = this.find(".plots .playhead"), left = view.toPixels(this.time);
    playhead.hidden = left < 0 || left > view.width;
    playhead.style.left = `${left}px`;
    this.overview.showTime(this.time);
  }

  showTime(time) {
    this.time = time;
    const { view, player } = this;
    if (!player.audio.paused && (time < view.start || time > view.end)) view.moveTo(time - view.span / 20);
    this.redraw();
  }

  // --- events ---

  click(event, x) {
    const block = event.target.closest("[role=option]");
    const index = block ? Number(block.dataset.index)
      : event.target.closest(".lane") ? this.lane.at(x, this.view) : -1;
    if (index < 0) return this.player.seek(this.view.toSeconds(x));
    this.select(index);
    this.playEvent();
  }

  step(by) {
    if (this.selected < 0) { // from what is seen
      const [first, last] = this.lane.inView(this.view);
      return this.select(by > 0 ? Math.min(first, this.events.length - 1) : last - 1);
    }
    this.select(this.selected + by);
  }

  select(index) {
    if (!this.events[index]) return;
    this.selected = index;
    this.view.reveal(this.events[index].start, this.events[index].end);
    this.panel.show(index);
    this.redraw();
  }

  playEvent() {
    if (this.selected < 0) return this.step(1);
    const { start, end } = this.events[this.selected];
    this.player.play(start, end).catch((error) => this.panel.say(`This browser cannot play it: ${error.message}`, true));
  }

  async correct(index, label) {
    const event = this.events[index];
    const outcome = await this.corrections.submit(event, label, () => this.cut(event));
    this.overview.dirty = true;
    this.redraw();
    return outcome;
  }

  /** A promise of the WAV file of an event, or of null; while the recording opens, it waits. */
  async cut({ start, end }) {
    await this.opened;
    return this.recording?.cut(start, end) ?? null;
  }

  close() {
    this.closed = true;
    this.player.stop();
    this.resizes.disconnect();
    this.recording?.close();
    this.recording = null;
  }
}

/** The labels that were predicted, most frequent first, in their colours and with their counts. */
function legend(events, labels) {
  const counts = new Map();
  for (const { label } of events) counts.set(label, (counts.get(label) ?? 0) + 1);
  const frequent = [...counts].sort(([, a], [, b]) => b - a).slice(0, MAX_LEGEND_LABELS);
  return frequent.map(([label, count]) => {
    const item = document.createElement("li"), name = document.createElement("b");
    item.style.setProperty("--hue", labelHue(label, labels));
    showName(name, label);
    item.append(name, ` × ${count}`);
    return item;
  });
}

function placeBetween(element, left, right, width) {
  element.style.left = `${Math.max(0, left)}px`;
  element.style.width = `${Math.max(0, Math.min(width, right) - Math.max(0, left))}px`;
  element.hidden = right < 0 || left > width;
}
