// From a picture to its faces with emotions, as inference/recognizer.py does it: the answers have the same form.

import { mean, missing, modelInput, quality, shareOutside } from "./enhance.js";
import { Fault } from "./faults.js";
import { OwnNeutral } from "./neutral.js";
import { crop, cropTurned, FACE_SIZE, rounded, shrink, toGray, turnedBox } from "./pixels.js";
import { EmotionFilter, Smoother, Tracker } from "./tracks.js";
import { detectUpright } from "./upright.js";

const PATCH = 12; // of the heat map: side of the covered square and its step, in pixels of the model input
const STRIDE = 4;
const FULL_COLOUR = 2.0;

/**
 * `facts` are those of GET /model/device, `detector` has `detect(picture)`, and `logits(inputs)` gives seven numbers for each of
 * some model inputs, which are 48x48 gray pictures.
 */
export class Recognizer {
  constructor(facts, detector, logits) {
    const why = missing(facts.image_spec);
    if (why) throw new Fault(`The network ${facts.model.network} cannot run on this device: ${why}.`);
    Object.assign(this, { facts, detector, logits, inputs: [] });
  }

  /** The faces of a picture, largest first; where none is upright, the turn by quarters decides in which a face is surest. */
  async recognize(image) {
    const { upright, found, quarters } = await detectUpright(this.detector, image, this.facts.detector.upright);
    if (!quarters) return this.judged(image, found);
    return (await this.judged(upright, found)).map((face) => ({
      ...face,
      box: sized(turnedBox(cornered(face.box), upright, 4 - quarters)),
      rotation: 90 * quarters,
      pose: face.pose && { ...face.pose, roll: ((((face.pose.roll + 90 * quarters + 180) % 360) + 360) % 360) - 180 },
    }));
  }

  /** The one face that a picture already is. */
  async recognizeFace(image) {
    const gray = toGray(image);
    this.inputs = [modelInput(gray, this.facts.image_spec)];
    const [row] = await this.probabilities(this.inputs);
    return [this.named(row, quality(gray, 0, this.facts.quality), null)];
  }

  /** The emotions of faces that were found already. */
  async judged(image, found) {
    const cuts = found.map((face) => {
      const box = grown(face.framing, this.facts.image_spec.crop_scale);
      const tilt = tiltOf(face.landmarks);
      const level = tilt === null || Math.abs(tilt) <= this.facts.level_degrees;
      return { gray: toGray(level ? crop(image, box) : cropTurned(image, box, tilt)), outside: shareOutside(box, image) };
    });
    this.inputs = cuts.map(({ gray }) => modelInput(gray, this.facts.image_spec));
    const rows = await this.probabilities(this.inputs);
    return rows.map((row, i) => this.named(row, quality(cuts[i].gray, cuts[i].outside, this.facts.quality), found[i]));
  }

  /** Calibrated probabilities of model inputs. */
  async probabilities(inputs) {
    if (!inputs.length) return [];
    const { labels, temperature } = this.facts;
    const logits = await this.logits(inputs);
    return inputs.map((_, i) => {
      const row = Array.from(logits.slice(i * labels.length, (i + 1) * labels.length), (logit) => logit / temperature);
      const powers = row.map((value) => Math.exp(value - Math.max(...row)));
      const sum = powers.reduce((total, power) => total + power, 0);
      return powers.map((power) => power / sum);
    });
  }

  /** The most probable label, or "uncertain"; relative to a person's neutral face, neutral is never uncertain. */
  nameOf(row, relative = false) {
    const best = row.indexOf(Math.max(...row));
    const label = this.facts.labels[best];
    return row[best] >= this.facts.uncertain_below || (relative && label === "neutral") ? label : "uncertain";
  }

  /** The answer on a face with its probabilities relative to the person's neutral face. */
  relativeTo(own, face) {
    const row = own.relative(Object.values(face.probabilities));
    const confidence = Math.max(...row);
    const emotion = this.nameOf(row, true);
    const doubts = face.reasons.filter((reason) => reason !== "low_confidence");
    return {
      ...face,
      emotion,
      top_emotion: this.facts.labels[row.indexOf(confidence)],
      confidence,
      probabilities: this.byLabel(row),
      neutral_reference: "given",
      reasons: emotion === "uncertain" ? ["low_confidence", ...doubts] : doubts,
    };
  }

  byLabel(row) {
    return Object.fromEntries(this.facts.labels.map((label, i) => [label, row[i]]));
  }

  /** What speaks for the top emotion of a face of the last answer, by its number from 1: {input, importance, scale}. */
  async explained(number) {
    const input = this.inputs[number - 1];
    if (!input) throw new Fault(`The picture has ${this.inputs.length} faces, face ${number} was asked for.`);
    const starts = Array.from({ length: (FACE_SIZE + PATCH - STRIDE) / STRIDE }, (_, i) => STRIDE - PATCH + i * STRIDE);
    const squares = starts.flatMap((y) => starts.map((x) => ({ x, y })));
    const gray = rounded(mean(input.data));
    const [before, ...after] = await this.probabilities([input, ...squares.map((square) => covered(input, square, gray))]);
    const top = before.indexOf(Math.max(...before));
    const [total, count] = [new Float64Array(FACE_SIZE ** 2), new Float64Array(FACE_SIZE ** 2)];
    squares.forEach((square, i) => {
      const fall = logOdds(before[top]) - logOdds(after[i][top]);
      eachInside(square, (at) => ([total[at], count[at]] = [total[at] + fall, count[at] + 1]));
    });
    const importance = total.map((sum, at) => sum / count[at]);
    return { input, importance, scale: Math.max(FULL_COLOUR, ...importance.map(Math.abs)) };
  }

  named(row, { measured, reasons }, found) {
    const emotion = this.nameOf(row);
    const confidence = Math.max(...row);
    return {
      box: found && sized(found.box),
      detection_score: found && found.score,
      emotion,
      top_emotion: this.facts.labels[row.indexOf(confidence)],
      confidence,
      probabilities: this.byLabel(row),
      neutral_reference: null,
      quality: measured,
      reasons: emotion === "uncertain" ? ["low_confidence", ...reasons] : reasons,
      pose: found && poseOf(found.landmarks, this.facts.quality.nose),
    };
  }
}

/** The faces of a live camera, frame by frame, with numbers that stay and answers joined over time: "smooth", "hmm" or "none". */
export class Stream {
  constructor(recognizer, temporal = recognizer.facts.camera_temporal) {
    const constants = recognizer.facts.temporal_modes[temporal];
    if (!constants) throw new Fault(`"${temporal}" is no way to join answers over time: ${Object.keys(recognizer.facts.temporal_modes).join(", ")}.`);
    const { neutral, labels, tracking } = recognizer.facts;
    const own = new OwnNeutral(neutral, labels, tracking.forget_seconds);
    Object.assign(this, { recognizer, constants, own, tracker: new Tracker(tracking), smoothers: new Map() });
  }

  /** The faces of the next frame, taken `time` seconds after the first. */
  async update(image, time) {
    const { recognizer, tracker, smoothers, own } = this;
    const small = shrink(image, recognizer.facts.camera_side);
    const scale = image.width / small.width;
    const found = (await recognizer.detector.detect(small)).map((face) => scaled(face, scale));
    const known = tracker.detected(found, time).filter(({ face, detected }) => detected || visible(face, image));
    const faces = await recognizer.judged(image, known.map(({ face }) => face));
    const owner = own.owner(new Map(known.map(({ track }, i) => [track, Object.values(faces[i].probabilities)])), time);
    const answers = known.map(({ track, detected }, i) => {
      const reference = track === owner ? own.reference : null;
      const face = reference ? recognizer.relativeTo(own, faces[i]) : faces[i];
      if (smoothers.get(track)?.reference !== reference) smoothers.set(track, { reference, smoother: joining(this.constants) });
      const smoothed = smoothers.get(track).smoother.add(Object.values(face.probabilities), time);
      const name = recognizer.nameOf(smoothed, Boolean(reference));
      return { track, ...face, smoothed_emotion: name, smoothed: recognizer.byLabel(smoothed), detected };
    });
    for (const number of smoothers.keys()) if (!tracker.tracks.has(number)) smoothers.delete(number);
    return answers;
  }
}

function scaled(face, scale) {
  const all = (values) => values.map((value) => value * scale);
  return { ...face, box: all(face.box), framing: all(face.framing), landmarks: face.landmarks && face.landmarks.map(all) };
}

function visible({ framing: [x1, y1, x2, y2] }, { width, height }) {
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return x > 0 && x < width && y > 0 && y < height;
}

/** The square to cut out: the framing, grown about its middle. */
function grown([x1, y1, x2, y2], cropScale) {
  const half = ((x2 - x1) * cropScale) / 2;
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return [x - half, y - half, x + half, y + half];
}

/** How many degrees the line of the eyes falls to the right. */
function tiltOf(landmarks) {
  if (!landmarks) return null;
  const [[rightX, rightY], [leftX, leftY]] = landmarks;
  return (Math.atan2(leftY - rightY, leftX - rightX) * 180) / Math.PI;
}

/** Roll, and yaw as the nose's place between the eyes suggests it; null where these are not known. */
export function poseOf(landmarks, nose) {
  if (!landmarks) return null;
  const [[rightX, rightY], [leftX, leftY], [noseX, noseY]] = landmarks;
  const [x, y] = [leftX - rightX, leftY - rightY];
  if (!x && !y) return null;
  const aside = ((noseX - (leftX + rightX) / 2) * x + (noseY - (leftY + rightY) / 2) * y) / (x * x + y * y);
  return { roll: tiltOf(landmarks), yaw: (Math.atan(aside / nose) * 180) / Math.PI };
}

const joining = (temporal) => (temporal.dwell_seconds === null ? new Smoother(temporal.smoothing_seconds) : new EmotionFilter(temporal));

const sized = ([x1, y1, x2, y2]) => ({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
const cornered = ({ x, y, width, height }) => [x, y, x + width, y + height];

function covered(input, square, gray) {
  const data = input.data.slice();
  eachInside(square, (at) => (data[at] = gray));
  return { ...input, data };
}

function eachInside({ x, y }, visit) {
  for (let row = Math.max(y, 0); row < Math.min(y + PATCH, FACE_SIZE); row++) {
    for (let column = Math.max(x, 0); column < Math.min(x + PATCH, FACE_SIZE); column++) visit(row * FACE_SIZE + column);
  }
}

function logOdds(probability) {
  const kept = Math.min(Math.max(probability, 1e-9), 1 - 1e-9);
  return Math.log(kept / (1 - kept));
}
