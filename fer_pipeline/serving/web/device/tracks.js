// Which face is which from frame to frame, and its answers joined over time: inference/tracking.py and inference/smoothing.py.

const LEAST_OVERLAP = 0.15;
const POSITION_NOISE = 0.03; // of a detection, in face sides
const SIZE_NOISE = 0.04;
const ACCELERATION = 4.0; // face sides per second squared

/** Gives the faces of successive frames numbers that stay. */
export class Tracker {
  constructor({ forget_seconds: forget, coast_seconds: coast }) {
    Object.assign(this, { forget, coast, next: 1, tracks: new Map() });
  }

  /** {track, face, detected} of the faces found in a frame at `time` in seconds, and then of those missed just now. */
  detected(faces, time) {
    for (const [number, track] of this.tracks) if (!(time - track.seen >= 0 && time - track.seen <= this.forget)) this.tracks.delete(number);
    const pairs = this.matched(faces, time);
    const found = faces.map((face, index) => {
      const number = pairs.get(index) ?? this.next++;
      if (pairs.has(index)) this.tracks.get(number).correct(face, time);
      else this.tracks.set(number, new Track(face, time));
      return { track: number, face, detected: true };
    });
    const taken = new Set(found.map(({ track }) => track));
    const coasting = [...this.tracks].filter(([number, track]) => !taken.has(number) && time - track.seen <= this.coast + 1e-9);
    return [...found, ...coasting.map(([number, track]) => ({ track: number, face: track.at(time), detected: false }))];
  }

  matched(faces, time) {
    const overlaps = [...this.tracks].flatMap(([number, track]) =>
      faces.map((face, index) => ({ overlap: iou(track.at(time).framing, face.framing), number, index })),
    );
    overlaps.sort((a, b) => b.overlap - a.overlap || a.number - b.number);
    const pairs = new Map();
    const taken = new Set();
    for (const { overlap, number, index } of overlaps) {
      if (overlap < LEAST_OVERLAP || pairs.has(index) || taken.has(number)) continue;
      pairs.set(index, number);
      taken.add(number);
    }
    return pairs;
  }
}

/** Mean of a face's probabilities in which what is `seconds` old weighs 1/e. */
export class Smoother {
  constructor(seconds) {
    Object.assign(this, { seconds, sums: null, weight: 0, time: null });
  }

  add(probabilities, time) {
    const past = this.time === null || this.seconds <= 0 ? 0 : Math.exp(-Math.max(0, time - this.time) / this.seconds);
    this.sums = probabilities.map((probability, i) => past * (this.sums?.[i] ?? 0) + probability);
    this.weight = past * this.weight + 1;
    this.time = time;
    return this.sums.map((sum) => sum / this.weight);
  }
}

/** Forward filter of a hidden Markov model whose states are the emotions: EmotionFilter of inference/smoothing.py. */
export class EmotionFilter {
  constructor({ dwell_seconds: dwell, evidence_seconds: evidence, least }) {
    Object.assign(this, { dwell, evidence, least, belief: null, time: null });
  }

  add(probabilities, time) {
    const states = probabilities.length;
    let weight = 1;
    this.belief ??= probabilities.map(() => 1 / states);
    if (this.time !== null) {
      const passed = Math.max(0, time - this.time);
      const kept = Math.exp((-passed * states) / ((states - 1) * this.dwell));
      this.belief = this.belief.map((share) => kept * share + (1 - kept) / states);
      weight = Math.min(1, passed / this.evidence);
    }
    const likely = this.belief.map((share, i) => share * Math.max(probabilities[i], this.least) ** weight);
    const sum = likely.reduce((total, value) => total + value, 0);
    [this.belief, this.time] = [likely.map((value) => value / sum), time];
    return this.belief;
  }
}

/** A constant-velocity Kalman filter for each of centre x, centre y and side, in pixels. */
class Track {
  constructor(face, time) {
    const { side } = measured(face);
    this.seen = time;
    this.face = face;
    this.filters = Object.entries(measured(face)).map(([name, value]) => ({ value, speed: 0, a: noise(name, side), b: 0, c: (2 * side) ** 2 }));
  }

  /** The last detection, moved and scaled to where the face should be. */
  at(time) {
    const step = time - this.seen;
    const [x, y, side] = this.filters.map(({ value, speed }) => value + speed * step);
    const old = measured(this.face);
    const scale = Math.max(side, 0.5 * old.side) / old.side;
    const move = ([px, py]) => [x + (px - old.x) * scale, y + (py - old.y) * scale];
    const moveBox = ([x1, y1, x2, y2]) => [...move([x1, y1]), ...move([x2, y2])];
    const { box, framing, landmarks } = this.face;
    return { ...this.face, box: moveBox(box), framing: moveBox(framing), landmarks: landmarks && landmarks.map(move) };
  }

  /** Brings the filters to `time` and takes in the detection; the covariance is [[a, b], [b, c]]. */
  correct(face, time) {
    const now = measured(face);
    const step = time - this.seen;
    const drift = (ACCELERATION * now.side) ** 2;
    this.filters = this.filters.map(({ value, speed, a, b, c }, i) => {
      const name = Object.keys(now)[i];
      const expected = value + speed * step;
      const [pa, pb, pc] = [a + 2 * step * b + step * step * c + (drift * step ** 4) / 4, b + step * c + (drift * step ** 3) / 2, c + drift * step * step];
      const [gain, speedGain] = [pa / (pa + noise(name, now.side)), pb / (pa + noise(name, now.side))];
      const error = now[name] - expected;
      return { value: expected + gain * error, speed: speed + speedGain * error, a: pa - gain * pa, b: pb - gain * pb, c: pc - speedGain * pb };
    });
    [this.face, this.seen] = [face, time];
  }
}

/** Area of the intersection of two boxes over that of their union. */
export function iou(a, b) {
  const [width, height] = [Math.min(a[2], b[2]) - Math.max(a[0], b[0]), Math.min(a[3], b[3]) - Math.max(a[1], b[1])];
  if (width <= 0 || height <= 0) return 0;
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  return (width * height) / (area(a) + area(b) - width * height);
}

function measured({ framing: [x1, y1, x2, y2] }) {
  return { x: (x1 + x2) / 2, y: (y1 + y2) / 2, side: x2 - x1 };
}

const noise = (name, side) => (side * (name === "side" ? SIZE_NOISE : POSITION_NOISE)) ** 2;
