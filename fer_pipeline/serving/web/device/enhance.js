// What a model's image spec does to a face at 48x48 (imaging.enhance), and how fit a face is (inference/quality.py).

import { FACE_SIZE, picture, resizedFace } from "./pixels.js";

const TILES = 4; // of CLAHE, in each direction, as fer_pipeline/imaging asks of OpenCV
const CLIP = 2.0;

/** Why a model with this image spec cannot run here; nothing where it can. */
export function missing(spec) {
  if (spec.version !== 1 || spec.size !== FACE_SIZE) return `its image spec is of version ${spec.version}, size ${spec.size}`;
  if (!["none", "median"].includes(spec.denoise)) return `its faces are denoised by “${spec.denoise}”, which only the server has`;
  if (!["none", "clahe"].includes(spec.contrast)) return `the contrast of its faces is set by “${spec.contrast}”, which only the server has`;
  return "";
}

/** The model input of a gray face that was cut out. */
export function modelInput(gray, spec) {
  let face = resizedFace(gray);
  if (spec.denoise === "median") face = median(face);
  return spec.contrast === "clahe" ? clahe(face) : face;
}

/** Size, sharpness, brightness and share outside of the picture, and which of the bounds are broken. */
export function quality(gray, outside, bounds) {
  const face = resizedFace(gray);
  const measured = { size: Math.min(gray.width, gray.height), sharpness: sharpness(face), brightness: mean(face.data), outside };
  const broken = {
    small: measured.size < bounds.min_size,
    blurry: measured.sharpness < bounds.min_sharpness,
    dark: measured.brightness < bounds.darkest,
    bright: measured.brightness > bounds.brightest,
    cut_off: outside > bounds.max_outside,
  };
  return { measured, reasons: Object.keys(broken).filter((name) => broken[name]) };
}

/** Share of a box's area that lies outside the picture. */
export function shareOutside([x1, y1, x2, y2], { width, height }) {
  const [seenWidth, seenHeight] = [Math.min(x2, width) - Math.max(x1, 0), Math.min(y2, height) - Math.max(y1, 0)];
  return 1 - (Math.max(0, seenWidth) * Math.max(0, seenHeight)) / ((x2 - x1) * (y2 - y1));
}

export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** Variance of the Laplacian; beyond the edge the picture is mirrored about its outermost pixels. */
function sharpness({ width, height, data }) {
  const edges = new Float64Array(data.length);
  const inside = (at, size) => (at < 0 ? -at : at >= size ? 2 * size - 2 - at : at);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (dx, dy) => data[inside(y + dy, height) * width + inside(x + dx, width)];
      edges[y * width + x] = at(-1, 0) + at(1, 0) + at(0, -1) + at(0, 1) - 4 * at(0, 0);
    }
  }
  const middle = mean(edges);
  return mean(edges.map((edge) => (edge - middle) ** 2));
}

function median({ width, height, data }) {
  const made = picture(width, height, 1);
  const around = new Uint8Array(9);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let count = 0;
      for (let row = y - 1; row <= y + 1; row++) {
        for (let column = x - 1; column <= x + 1; column++) {
          around[count++] = data[Math.min(Math.max(row, 0), height - 1) * width + Math.min(Math.max(column, 0), width - 1)];
        }
      }
      made.data[y * width + x] = around.sort()[4];
    }
  }
  return made;
}

/** Contrast-limited adaptive histogram equalisation (Zuiderveld 1994), as OpenCV has it. */
function clahe({ width, height, data }) {
  const [wide, high] = [width / TILES, height / TILES];
  const area = wide * high;
  const most = Math.max(Math.floor((CLIP * area) / 256), 1);
  const levels = Array.from({ length: TILES * TILES }, (_, tile) => {
    const counts = new Int32Array(256);
    const [left, top] = [(tile % TILES) * wide, Math.floor(tile / TILES) * high];
    for (let y = top; y < top + high; y++) for (let x = left; x < left + wide; x++) counts[data[y * width + x]]++;
    return equalised(counts, most, area);
  });
  const made = picture(width, height, 1);
  const tileOf = (at, side) => {
    const place = at / side - 0.5;
    const first = Math.floor(place);
    return [Math.max(first, 0), Math.min(first + 1, TILES - 1), place - first];
  };
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = tileOf(y, high);
    for (let x = 0; x < width; x++) {
      const [left, right, across] = tileOf(x, wide);
      const value = data[y * width + x];
      const at = (row, column) => levels[row * TILES + column][value];
      const upper = at(top, left) * (1 - across) + at(top, right) * across;
      const lower = at(bottom, left) * (1 - across) + at(bottom, right) * across;
      made.data[y * width + x] = upper * (1 - down) + lower * down;
    }
  }
  return made;
}

function equalised(counts, most, area) {
  let clipped = 0;
  for (let level = 0; level < 256; level++) {
    clipped += Math.max(0, counts[level] - most);
    counts[level] = Math.min(counts[level], most);
  }
  const each = Math.floor(clipped / 256);
  let left = clipped - 256 * each;
  for (let level = 0; level < 256; level++) counts[level] += each;
  if (left) {
    const step = Math.max(Math.floor(256 / left), 1);
    for (let level = 0; level < 256 && left > 0; level += step, left--) counts[level]++;
  }
  const made = new Uint8ClampedArray(256);
  let sum = 0;
  for (let level = 0; level < 256; level++) made[level] = Math.fround((sum += counts[level]) * Math.fround(255 / area));
  return made;
}
