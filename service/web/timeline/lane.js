// The events of a timeline: labelled blocks, of which only those in view are in the page, or ticks on
// a canvas when there are too many to read. To a screen reader it is a list box.
import { drawTicks, fitCanvas } from "./draw.js";
import { timeText } from "./time_text.js";

const MAX_BLOCKS = 120;
const LEAST_BLOCK_PIXELS = 8;
const NEAR_PIXELS = 12;
const PIXELS_PER_LETTER = 9;

export class Lane {
  /** `labelOf` gives an event's correct label if it has one, else the predicted one. */
  constructor(lane, events, hueOf, labelOf) {
    Object.assign(this, { lane, events, hueOf, labelOf });
    this.canvas = lane.querySelector("canvas");
    this.blocks = new Map(); // index of an event -> its element
    this.longest = events.reduce((longest, { start, end }) => Math.max(longest, end - start), 0);
    this.crowded = false;
  }

  draw(view, selected) {
    const [first, last] = this.inView(view);
    this.crowded = last - first > MAX_BLOCKS;
    const { context, height } = fitCanvas(this.canvas);
    const shown = new Set(this.crowded ? [] : Array.from({ length: last - first }, (_, i) => first + i));
    if (this.crowded) drawTicks(context, this.events.slice(first, last), this.hueOf, (t) => view.toPixels(t), height, 1);
    if (selected >= 0) shown.add(selected); // what a list box calls active must exist
    for (const [index, block] of this.blocks) {
      if (shown.has(index)) continue;
      block.remove();
      this.blocks.delete(index);
    }
    for (const index of shown) this.place(index, view, index === selected);
    if (selected >= 0) this.lane.setAttribute("aria-activedescendant", this.blocks.get(selected).id);
  }

  /** Index of the first event that ends after the view's start, and of the first after its end. */
  inView(view) {
    const firstAfter = (time) => {
      let low = 0, high = this.events.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.events[middle].start < time) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    let first = firstAfter(view.start - this.longest);
    while (first < this.events.length && this.events[first].end < view.start) first++;
    return [first, Math.max(first, firstAfter(view.end))];
  }

  /** The event at or nearest to a place; -1 if none is near. */
  at(pixels, view) {
    const near = this.events.map(({ start, end }, index) => {
      const left = view.toPixels(start), right = view.toPixels(end);
      return { index, distance: Math.max(left - pixels, pixels - right, 0) };
    }).reduce((best, other) => (other.distance < best.distance ? other : best), { index: -1, distance: NEAR_PIXELS });
    return near.index;
  }

  place(index, view, isSelected) {
    const block = this.blocks.get(index) ?? this.create(index);
    const { start, end } = this.events[index], next = this.events[index + 1]?.start ?? Infinity;
    const left = view.toPixels(start), width = Math.max(LEAST_BLOCK_PIXELS, view.toPixels(end) - left);
    const label = this.labelOf(index), name = block.firstElementChild;
    block.style.left = `${left}px`;
    block.style.width = `${width}px`;
    block.style.setProperty("--hue", this.hueOf(this.events[index]));
    name.textContent = label;
    // A label may reach beyond its block, up to the next one.
    const room = Math.max(width, view.toPixels(next) - left - 2);
    name.style.maxWidth = `${Math.min(room, view.width)}px`;
    name.classList.toggle("centered", label.length * PIXELS_PER_LETTER <= width + LEAST_BLOCK_PIXELS);
    name.hidden = room < PIXELS_PER_LETTER;
    block.setAttribute("aria-selected", String(isSelected));
    block.classList.toggle("corrected", label !== this.events[index].label);
    block.title = label;
    block.setAttribute("aria-label", this.describe(index, label));
  }

  create(index) {
    const block = document.createElement("div");
    block.id = `${this.lane.id}-${index}`;
    block.className = "event";
    block.setAttribute("role", "option");
    block.setAttribute("aria-setsize", this.events.length);
    block.setAttribute("aria-posinset", index + 1);
    block.dataset.index = index;
    block.append(document.createElement("span"));
    // In order of time, also for a screen reader that reads on.
    const later = Math.min(...[...this.blocks.keys()].filter((other) => other > index));
    this.lane.insertBefore(block, this.blocks.get(later) ?? null);
    this.blocks.set(index, block);
    return block;
  }

  describe(index, label) {
    const { start, end, score, label: predicted } = this.events[index];
    const certainty = label === predicted ? `${Math.round(100 * score)} %` : `corrected from ${predicted}`;
    return `${label}, ${certainty}, at ${timeText(start, 1)}, ${(end - start).toFixed(2)} s`;
  }
}
