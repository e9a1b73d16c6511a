// Where the model listened in the selected event: its own spectrogram, with the map over it.
import { describeMap, drawActivationMap } from "../activation_map.js";
import { DISPLAY_RATE_HZ, decode, drawLogMel } from "../sound.js";

export class EventMap {
  /**
   * `details` is opened and closed by people; `labels` are the model's; `cut(event)` gives a promise of
   * the event's WAV file, or of null; `requestMap(clip, label)` of its map.
   */
  constructor(details, labels, cut, requestMap) {
    Object.assign(this, { details, labels, cut, requestMap });
    this.event = this.drawn = null;
    details.ontoggle = () => this.show(this.event);
  }

  /** Show the map of an event, once somebody wants to see maps. */
  async show(event) {
    this.event = event;
    if (!this.details.open || this.drawn === event) return;
    this.drawn = event;
    this.say("…");
    try {
      await this.draw(event);
    } catch (error) {
      if (event !== this.event) return;
      this.drawn = null; // opening it again tries again
      this.say(`No map: ${error.message}`);
    }
  }

  async draw(event) {
    const clip = await this.cut(event);
    if (event !== this.event) return; // nobody waits for it any more
    const samples = clip && await decode(await clip.arrayBuffer());
    if (!samples?.length) throw new Error("this browser cannot cut the recording");
    // Of several labels, that with the highest score.
    const map = await this.requestMap(clip, this.labels.includes(event.label) ? event.label : null);
    if (event !== this.event) return;
    const canvas = this.details.querySelector("canvas");
    drawLogMel(canvas, samples);
    drawActivationMap(canvas, map, samples.length / DISPLAY_RATE_HZ);
    this.say(describeMap(map));
    canvas.hidden = false;
  }

  say(text) {
    this.details.querySelector("canvas").hidden = true;
    this.details.querySelector(".note").textContent = text;
  }
}
