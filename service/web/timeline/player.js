// Plays a recording, or one stretch of it, with the page's audio element.

export class StretchPlayer {
  /** `onTime` gets the time in seconds whenever it has moved. */
  constructor(audio, onTime) {
    this.audio = audio;
    this.stopAt = Infinity;
    this.onTime = onTime;
    audio.addEventListener("play", () => this.follow());
    // Also in a tab that is hidden, where no animation frames come.
    audio.addEventListener("timeupdate", () => this.check());
    audio.addEventListener("seeked", () => onTime(audio.currentTime));
  }

  play(start, end = Infinity) {
    this.stopAt = end;
    this.audio.currentTime = start;
    return this.audio.play();
  }

  /** Move to a time; goes on playing if it was. */
  seek(time) {
    this.stopAt = Infinity;
    this.audio.currentTime = time;
  }

  stop() {
    this.audio.pause();
  }

  follow() {
    this.check();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  check() {
    if (this.audio.currentTime >= this.stopAt) {
      this.audio.pause();
      this.stopAt = Infinity; // so that the audio element's own button plays on
    }
    this.onTime(this.audio.currentTime);
  }
}
