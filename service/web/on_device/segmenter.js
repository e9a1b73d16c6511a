// Joins active frames to sounds, which a pause ends: the segmenter of data/audio/sounds.py.

const MIN_STRONG_FRAMES = 3;

export class Segmenter {
  constructor(pauseFrames) {
    this.pauseFrames = pauseFrames;
    this.openSound = null; // {first, last}: from frame `first` to before frame `last`
    this.strong = this.frames = 0;
    this.ended = [];
  }

  /** The sounds that end within further frames. */
  update(active, strong) {
    for (const [first, last] of this.groups(active)) {
      const count = strong.slice(first, last).filter(Boolean).length;
      this.extend(this.frames + first, this.frames + last, count);
    }
    this.frames += active.length;
    if (this.openSound && this.frames - this.openSound.last >= this.pauseFrames) this.end();
    return this.ended.splice(0);
  }

  /** The sound that is open at the end of the recording, if there is one. */
  close() {
    this.end();
    return this.ended.splice(0);
  }

  /** [first, last] of each group of active frames between which there is no pause. */
  groups(active) {
    const groups = [];
    active.forEach((isActive, i) => {
      if (!isActive) return;
      const group = groups.at(-1);
      if (group && i - (group[1] - 1) <= this.pauseFrames) group[1] = i + 1;
      else groups.push([i, i + 1]);
    });
    return groups;
  }

  extend(first, last, strong) {
    if (this.openSound && first - this.openSound.last >= this.pauseFrames) this.end();
    this.openSound = { first: this.openSound ? this.openSound.first : first, last };
    this.strong += strong;
  }

  end() {
    if (this.openSound && this.strong >= MIN_STRONG_FRAMES) this.ended.push(this.openSound);
    this.openSound = null;
    this.strong = 0;
  }
}
