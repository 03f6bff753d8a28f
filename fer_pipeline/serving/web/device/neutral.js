// A person's own neutral face: inference/neutral/reference.py and inference/live/own_neutral.py.

/** Takes the largest face of some seconds as neutral, and keeps how the model reads it in this worker's memory. */
export class OwnNeutral {
  constructor({ seconds, tau, least }, labels, forget) {
    Object.assign(this, { seconds, tau, least, labels, forget, reference: null, track: null, seen: 0, rows: null, end: null });
  }

  /** "collecting", "set" or null. */
  get state() {
    if (this.rows) return "collecting";
    return this.reference && "set";
  }

  collect() {
    this.clear();
    this.rows = [];
  }

  clear() {
    Object.assign(this, { reference: null, track: null, rows: null, end: null });
  }

  /** The track that is read relative to the neutral face, or null; `faces` is a map from track to probabilities, largest first. */
  owner(faces, time) {
    if (this.rows) this.take(faces, time);
    if (!this.reference) return null;
    if (faces.has(this.track)) this.seen = time;
    else if (faces.size === 1 && time - this.seen > this.forget) [this.track, this.seen] = [[...faces.keys()][0], time];
    return faces.has(this.track) ? this.track : null;
  }

  /** Probabilities relative to the reference. */
  relative(row) {
    const logs = row.map((p, i) => Math.log(Math.max(p, this.least)) - this.reference[i] + (this.labels[i] === "neutral" ? this.tau : 0));
    const powers = logs.map((value) => Math.exp(value - Math.max(...logs)));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  }

  take(faces, time) {
    this.end ??= time + this.seconds;
    this.track ??= [...faces.keys()][0] ?? null;
    if (faces.has(this.track)) {
      this.rows.push(faces.get(this.track));
      this.seen = time;
    }
    if (time < this.end) return;
    const mean = (i) => this.rows.reduce((sum, row) => sum + Math.log(Math.max(row[i], this.least)), 0) / this.rows.length;
    this.reference = this.rows.length ? this.labels.map((_, i) => mean(i)) : null;
    [this.rows, this.end] = [null, null];
  }
}
