// Faces with landmarks by CenterFace (Xu et al. 2019): fer_pipeline/inference/detection/centerface.py.

import { shrink } from "./pixels.js";
import { iou } from "./tracks.js";

const CELL = 4;
const MULTIPLE = 32;
const MAX_OVERLAP = 0.3; // of two boxes that count as two faces
const [SCORES, SIZES, OFFSETS, LANDMARKS] = ["537", "538", "539", "540"];

/** A detector as `haarDetector` makes one; `run(floats, dims)` gives the network's outputs by name. */
export function centerFaceDetector(run, { threshold, longest_side: longestSide, framing }) {
  return {
    async detect(image) {
      const small = shrink(image, longestSide);
      const scale = image.width / small.width;
      const { values, width, height } = padded(small);
      const outputs = await run(values, [1, 3, height, width]);
      const faces = best(decoded(outputs, width / CELL, threshold)).map(({ box, score, landmarks }) => {
        const large = box.map((value) => value * scale);
        return { box: large, framing: framed(large, framing), score, landmarks: landmarks.map(([x, y]) => [x * scale, y * scale]) };
      });
      return faces.sort((a, b) => b.framing[2] - b.framing[0] - (a.framing[2] - a.framing[0]));
    },
  };
}

/** Red, green and blue one after the other, black beyond the picture up to multiples of 32 pixels. */
function padded(image) {
  const [width, height] = [image.width, image.height].map((side) => MULTIPLE * Math.ceil(side / MULTIPLE));
  const plane = width * height;
  const values = new Float32Array(3 * plane);
  const { data, channels } = image;
  for (let y = 0, from = 0; y < image.height; y++) {
    for (let x = 0, to = y * width; x < image.width; x++, to++, from += channels) {
      for (let c = 0; c < 3; c++) values[c * plane + to] = data[channels === 1 ? from : from + c];
    }
  }
  return { values, width, height };
}

/** The faces in pixels of the network's input, best first; several boxes may show one. */
function decoded(outputs, columns, threshold) {
  const scores = outputs[SCORES].data;
  const [sizes, offsets, marks] = [SIZES, OFFSETS, LANDMARKS].map((name) => outputs[name].data);
  const cells = scores.length;
  const found = [];
  for (let at = 0; at < cells; at++) {
    if (scores[at] < threshold) continue;
    const [row, column] = [Math.floor(at / columns), at % columns];
    const [height, width] = [CELL * Math.exp(sizes[at]), CELL * Math.exp(sizes[cells + at])];
    const left = (column + offsets[cells + at] + 0.5) * CELL - width / 2;
    const top = (row + offsets[at] + 0.5) * CELL - height / 2;
    const mark = (n) => [left + marks[(2 * n + 1) * cells + at] * width, top + marks[2 * n * cells + at] * height];
    found.push({ box: [left, top, left + width, top + height], score: scores[at], landmarks: [0, 1, 2, 3, 4].map(mark) });
  }
  return found.sort((a, b) => b.score - a.score);
}

/** Of boxes that overlap the most probable one. */
function best(found) {
  const kept = [];
  for (const face of found) if (kept.every((other) => iou(face.box, other.box) <= MAX_OVERLAP)) kept.push(face);
  return kept;
}

/** The square in the framing of FER-2013 around a box of CenterFace. */
function framed([x1, y1, x2, y2], { width, x, y }) {
  const side = (x2 - x1) / width;
  const [left, top] = [(x1 + x2) / 2 - x * side, (y1 + y2) / 2 - y * side];
  return [left, top, left + side, top + side];
}
