// The windows of a recording that the model is asked about: data/audio/sound_windows.py in JavaScript.
// That file says why each step is as it is; the two give the same windows.
import { concatenate, longestRun, padded, runLength } from "./arrays.js";
import { roundHalfEven } from "./rounding.js";
import { SoundFinder } from "./sounds.js";

const MAX_SOUND_CLIPS = 1.5;
const CONTINUOUS_HOP_FRACTION = 0.5;
const MARGIN_FRAMES = 3;
const MIN_FILL_FRAMES = 5;
const MAX_FED_SAMPLES = 1 << 16;

/**
 * Cuts one recording into windows: sounds {start, end, goesOn, clips} and windows of continuous sound
 * {start, stretchStart, stretchEnd, clips}. Positions are samples of the recording; `clips` are
 * Float32Arrays of `clipSamples`. `offsets` are the distances of a sound's windows from its middle.
 */
export class SoundWindower {
  constructor(rateHz, clipSamples, offsets) {
    this.finder = new SoundFinder(rateHz, clipSamples / rateHz);
    this.frame = this.finder.frameSamples;
    Object.assign(this, { clip: clipSamples, offsets });
    this.hopSamples = Math.max(1, roundHalfEven(clipSamples * CONTINUOUS_HOP_FRACTION));
    this.maxSoundFrames = Math.trunc((MAX_SOUND_CLIPS * clipSamples) / this.frame);
    this.latest = Math.max(0, ...offsets);
    this.reach = clipSamples + Math.max(0, ...offsets.map(Math.abs));
    this.keptFrom = 0; // the sample, and frame, of the first kept element
    this.samples = new Float32Array(0);
    this.active = new Uint8Array(0);
    this.loud = new Uint8Array(0);
    this.continuous = new Uint8Array(0);
    this.sampleCount = this.frameCount = this.soundCount = this.nextContinuous = 0;
    this.waiting = []; // {ready, start, end} of sounds, the next one first
  }

  get keptFrame() {
    return Math.floor(this.keptFrom / this.frame);
  }

  /** The windows that these samples decide, in the order of their ends. */
  feed(samples) {
    const windows = [];
    for (let first = 0; first < samples.length; first += MAX_FED_SAMPLES) {
      windows.push(...this.feedPart(samples.subarray(first, first + MAX_FED_SAMPLES)));
    }
    return windows;
  }

  feedPart(samples) {
    this.samples = concatenate(this.samples, samples);
    this.sampleCount += samples.length;
    this.add(this.finder.feed(samples));
    const open = this.finder.openSound;
    const isShort = open && open.last - open.first <= this.maxSoundFrames;
    const windows = this.decided((isShort ? open.first : this.frameCount) * this.frame, false);
    this.forget();
    return windows;
  }

  /** The windows that the end of the recording decides. */
  finish() {
    if (!this.sampleCount) return [];
    this.add(this.finder.finish());
    const isOneSound = !this.soundCount && this.frameCount <= this.maxSoundFrames && this.loud.includes(1);
    if (isOneSound) this.await({ first: 0, last: this.frameCount }); // a word without a pause before or after it
    // Silence, so that windows may reach beyond the end.
    this.samples = concatenate(this.samples, new Float32Array(2 * this.clip + this.latest));
    return this.decided(this.sampleCount, true);
  }

  add({ active, loud, sounds }) {
    this.active = concatenate(this.active, active);
    this.loud = concatenate(this.loud, loud);
    this.continuous = concatenate(this.continuous, loud);
    this.frameCount += active.length;
    this.soundCount += sounds.length;
    for (const sound of sounds) if (sound.last - sound.first <= this.maxSoundFrames) this.await(sound);
  }

  /** Ask about a sound as soon as all of its windows have been read. */
  await({ first, last }) {
    this.continuous.fill(0, Math.max(0, first - MARGIN_FRAMES - this.keptFrame), last + MARGIN_FRAMES - this.keptFrame);
    const start = first * this.frame, end = Math.min(last * this.frame, this.sampleCount);
    const lastSample = Math.floor((start + end) / 2) + this.latest + Math.floor(this.clip / 2);
    const ready = Math.max(lastSample, (last + this.finder.pauseFrames) * this.frame);
    this.waiting.push({ ready, start, end });
    this.waiting.sort((a, b) => a.ready - b.ready || a.start - b.start || a.end - b.end);
  }

  /** All windows that end before sample `decided`, and at the end of the recording all. */
  decided(decided, final) {
    const windows = [];
    for (;;) {
      const sound = this.waiting[0];
      const continuousEnd = this.nextContinuous + this.clip;
      const continuousReady = continuousEnd + this.hopSamples; // how the sound goes on is known
      if (sound && sound.ready <= continuousReady) {
        if (sound.ready > decided && !final) return windows;
        this.waiting.shift();
        windows.push(this.soundWindows(sound));
      } else if (continuousReady <= decided || (final && continuousEnd <= decided)) {
        const window = this.continuousWindow(this.nextContinuous);
        this.nextContinuous += this.hopSamples;
        if (window) windows.push(window);
      } else if (final && this.waiting.length) {
        this.nextContinuous = this.sampleCount; // only sounds are left
      } else {
        return windows;
      }
    }
  }

  soundWindows({ start, end }) {
    const middle = Math.floor((start + end) / 2);
    const begins = this.offsets.map((offset) => middle + offset - Math.floor(this.clip / 2));
    return { start, end, goesOn: this.goesOn(end), clips: begins.map((begin) => this.isolated(begin, start, end)) };
  }

  goesOn(end) {
    const first = Math.ceil(end / this.frame) + MARGIN_FRAMES - this.keptFrame;
    const following = this.loud.subarray(first, first + this.finder.pauseFrames - MARGIN_FRAMES);
    return following.length > 0 && following.every(Boolean);
  }

  /** The window from sample `begin`, without other sounds than that from `start` to `end`. */
  isolated(begin, start, end) {
    const window = this.cut(begin, begin + this.clip);
    const own = this.span(begin, start, end), foreign = this.foreign(begin, start, end, own);
    if (!foreign.includes(1)) return window;
    const [first, last] = longestRun(foreign.map((isForeign, i) => !isForeign && !own[i]));
    const fill = last - first < MIN_FILL_FRAMES * this.frame ? Float32Array.of(0) : window.slice(first, last);
    let used = 0;
    for (let i = 0; i < window.length; i++) if (foreign[i]) window[i] = fill[used++ % fill.length];
    return window;
  }

  /** Which samples of a window belong to other sounds. */
  foreign(begin, start, end, own) {
    const first = Math.floor(begin / this.frame) - MARGIN_FRAMES;
    const count = Math.floor(this.clip / this.frame) + 2 * MARGIN_FRAMES + 2;
    const active = padded(this.active, first - this.keptFrame, count);
    active.fill(0, Math.max(0, Math.floor(start / this.frame) - first), Math.max(0, Math.ceil(end / this.frame) - first));
    const wide = active.map((_, i) => active.subarray(Math.max(0, i - MARGIN_FRAMES), i + MARGIN_FRAMES + 1).includes(1));
    const skipped = begin - first * this.frame;
    return own.map((isOwn, i) => wide[Math.floor((skipped + i) / this.frame)] && !isOwn);
  }

  /** Which samples of a window belong to a sound, with its margins. */
  span(begin, start, end) {
    const margin = MARGIN_FRAMES * this.frame;
    return new Uint8Array(this.clip).fill(1, Math.max(0, start - margin - begin), Math.max(0, end + margin - begin));
  }

  /** The window that begins at a sample; null if it is not all continuous sound. */
  continuousWindow(start) {
    const first = Math.floor(start / this.frame), last = Math.floor((start + this.clip) / this.frame);
    if (!this.isContinuous(first, last).every(Boolean)) return null;
    const clipFrames = Math.floor(this.clip / this.frame), hopFrames = Math.floor(this.hopSamples / this.frame);
    const before = runLength(this.isContinuous(first - clipFrames, first).reverse());
    const after = runLength(this.isContinuous(last, last + hopFrames));
    const stretchEnd = start + this.clip + this.hopSamples;
    return {
      start,
      clips: [this.cut(start, start + this.clip)],
      stretchStart: (first - before) * this.frame,
      stretchEnd: after === hopFrames ? stretchEnd : (last + after) * this.frame,
    };
  }

  /** Which frames from `first` to before `last` are, of those that are kept: a copy. */
  isContinuous(first, last) {
    return this.continuous.slice(Math.max(0, first - this.keptFrame), Math.max(0, last - this.keptFrame));
  }

  cut(begin, end) {
    return padded(this.samples, begin - this.keptFrom, end - begin);
  }

  /** Drop what no further window can hold. */
  forget() {
    const open = this.finder.openSound;
    const needed = Math.min(
      this.nextContinuous - this.clip,
      this.frameCount * this.frame - 2 * this.reach,
      ...this.waiting.map(({ start }) => start - this.reach),
      ...(open ? [open.first * this.frame - this.reach] : []),
    );
    const keep = Math.max(this.keptFrom, Math.floor(needed / this.frame) * this.frame);
    const frames = Math.floor(keep / this.frame) - this.keptFrame;
    this.samples = this.samples.slice(keep - this.keptFrom);
    this.active = this.active.slice(frames);
    this.loud = this.loud.slice(frames);
    this.continuous = this.continuous.slice(frames);
    this.keptFrom = keep;
  }
}
