// Faces with landmarks by YuNet (Wu et al. 2023), its answers read as OpenCV's FaceDetectorYN reads them.

import { shrink } from "./pixels.js";
import { iou } from "./tracks.js";

const STRIDES = [8, 16, 32];
const MOST_OVERLAP = 0.3; // of two boxes that count as two faces

/** A detector as `haarDetector` makes one; `run(floats, dims)` gives the network's outputs by name. */
export function yunetDetector(run, { threshold, longest_side: longestSide, framing }) {
  return {
    async detect(image) {
      const small = shrink(image, longestSide);
      const scale = image.width / small.width;
      const { values, width, height } = padded(small);
      const outputs = await run(values, [1, 3, height, width]);
      const found = STRIDES.flatMap((stride) => decoded(outputs, stride, width, height, threshold));
      const faces = best(found).map(({ box, score, landmarks }) => {
        const large = box.map((value) => value * scale);
        return { box: large, framing: framed(large, framing), score, landmarks: landmarks.map(([x, y]) => [x * scale, y * scale]) };
      });
      return faces.sort((a, b) => b.framing[2] - b.framing[0] - (a.framing[2] - a.framing[0]));
    },
  };
}

/** Blue, green and red one after the other, black beyond the picture up to multiples of 32 pixels. */
function padded(image) {
  const [width, height] = [32 * Math.ceil(image.width / 32), 32 * Math.ceil(image.height / 32)];
  const plane = width * height;
  const values = new Float32Array(3 * plane);
  for (let y = 0, from = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, from += image.channels) {
      for (let c = 0; c < 3; c++) values[(2 - c) * plane + y * width + x] = image.data[from + c];
    }
  }
  return { values, width, height };
}

function decoded(outputs, stride, width, height, threshold) {
  const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((name) => outputs[`${name}_${stride}`].data);
  const share = (value) => Math.min(Math.max(value, 0), 1);
  const [columns, rows] = [width / stride, height / stride];
  const found = [];
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const score = Math.sqrt(share(cls[at]) * share(obj[at]));
      if (score < threshold) continue;
      const [x, y] = [(column + bbox[4 * at]) * stride, (row + bbox[4 * at + 1]) * stride];
      const [w, h] = [Math.exp(bbox[4 * at + 2]) * stride, Math.exp(bbox[4 * at + 3]) * stride];
      const mark = (n) => [(kps[10 * at + 2 * n] + column) * stride, (kps[10 * at + 2 * n + 1] + row) * stride];
      found.push({ box: [x - w / 2, y - h / 2, x + w / 2, y + h / 2], score, landmarks: [0, 1, 2, 3, 4].map(mark) });
    }
  }
  return found;
}

/** Of boxes that overlap the most probable one. */
function best(found) {
  const kept = [];
  for (const face of found.sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => iou(whole(face.box), whole(other.box)) <= MOST_OVERLAP)) kept.push(face);
  }
  return kept;
}

function whole([x1, y1, x2, y2]) {
  const [left, top] = [Math.trunc(x1), Math.trunc(y1)];
  return [left, top, left + Math.trunc(x2 - x1), top + Math.trunc(y2 - y1)];
}

/** The square in the framing of FER-2013 around a box of YuNet. */
function framed([x1, y1, x2], { side, left, top }) {
  const wide = (x2 - x1) / side;
  const [x, y] = [x1 - left * wide, y1 - top * wide];
  return [x, y, x + wide, y + wide];
}
