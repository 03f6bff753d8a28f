// Faces by a Haar cascade (Viola and Jones 2001) as OpenCV's detectMultiScale searches them: the same windows, sums and groups,
// so that the boxes are those of the server. The cascade comes from the server's own OpenCV.

import { resizedLinearExact, rounded, shrink, toGray } from "./pixels.js";

const GROWTH = 1.1;
const NEAR = 0.2; // windows this near, in their own size, are the same face
const STAGE_SLACK = 1e-5;

/** A detector: `detect(picture)` lists faces {box, framing, score, landmarks}, largest first, in pixels of the picture. */
export function haarDetector(cascade, { neighbours, smallest, longest_side: longestSide }) {
  const arrays = flat(cascade);
  return {
    async detect(image) {
      const small = shrink(toGray(image), longestSide);
      const scale = image.width / small.width;
      const found = grouped(candidates(arrays, small, smallest), neighbours);
      const faces = found.map(({ x, y, width, height, count }) => {
        const box = [x * scale, y * scale, (x + width) * scale, (y + height) * scale];
        return { box, framing: box, score: count / (count + neighbours), landmarks: null };
      });
      return faces.sort((a, b) => b.framing[2] - b.framing[0] - (a.framing[2] - a.framing[0]));
    },
  };
}

/** The cascade as flat arrays. The weights of rectangles are small whole numbers, and so are all sums of them. */
function flat({ side, stages, stumps }) {
  const weights = new Int32Array(3 * stumps.length);
  stumps.forEach(({ rectangles }, stump) => rectangles.forEach(([, , , , weight], i) => (weights[3 * stump + i] = weight)));
  return {
    side,
    weights,
    rectangles: stumps.map(({ rectangles }) => rectangles),
    thresholds: Float32Array.from(stumps, ({ threshold }) => threshold),
    lefts: Float32Array.from(stumps, ({ left }) => left),
    rights: Float32Array.from(stumps, ({ right }) => right),
    stageThresholds: Float32Array.from(stages, ({ threshold }) => Math.fround(threshold) - Math.fround(STAGE_SLACK)),
    ends: Int32Array.from(stages, ({ end }) => end),
  };
}

/** The four corners of each rectangle in integral images with rows of `stride` values, from the window's first value. */
function corners({ rectangles }, stride) {
  const made = new Int32Array(12 * rectangles.length);
  rectangles.forEach((three, stump) =>
    three.forEach(([x, y, width, height], i) => {
      const [top, bottom] = [y * stride + x, (y + height) * stride + x];
      made.set([top, top + width, bottom, bottom + width], 12 * stump + 4 * i);
    }),
  );
  return made;
}

/** Integral images of the values and of their squares, with one row and column of zeros before. */
function integrals({ width, height, data }) {
  const stride = width + 1;
  const [sums, squares] = [new Int32Array(stride * (height + 1)), new Int32Array(stride * (height + 1))];
  for (let y = 0, from = 0, at = stride; y < height; y++) {
    let [sum, square] = [0, 0];
    at++;
    for (let x = 0; x < width; x++, at++) {
      const value = data[from++];
      sum += value;
      square += value * value;
      sums[at] = sums[at - stride] + sum;
      squares[at] = squares[at - stride] + square; // may overflow; differences come out right all the same
    }
  }
  return { sums, squares };
}

function candidates(cascade, gray, smallest) {
  const found = [];
  for (let factor = 1; ; factor *= GROWTH) {
    const scale = Math.fround(factor);
    const wide = rounded(Math.fround(cascade.side * scale)); // OpenCV computes in float32, and a tie rounds another way
    if (wide > gray.width || wide > gray.height) return found;
    if (wide < smallest) continue;
    const [width, height] = [rounded(Math.fround(gray.width / scale)), rounded(Math.fround(gray.height / scale))];
    const layer = width === gray.width && height === gray.height ? gray : resizedLinearExact(gray, width, height);
    const at = (x, y) => found.push({ x: rounded(Math.fround(x * scale)), y: rounded(Math.fround(y * scale)), width: wide, height: wide });
    scan(cascade, layer, scale >= 2 ? 1 : 2, at);
  }
}

/** Tells `found` each window that passes all stages. One long function: this is where the time goes. */
function scan(cascade, layer, step, found) {
  const { side, weights, thresholds, lefts, rights, stageThresholds, ends } = cascade;
  const stride = layer.width + 1;
  const { sums, squares } = integrals(layer);
  const offsets = corners(cascade, stride);
  const area = (side - 2) ** 2; // the contrast of a window is taken without its rim
  const [first, right, down] = [stride + 1, side - 2, (side - 2) * stride];
  for (let y = 0; y < layer.height + 1 - side; y += step) {
    for (let x = 0; x < layer.width + 1 - side; x += step) {
      const at = y * stride + x;
      const a = at + first;
      const sum = sums[a] - sums[a + right] - sums[a + down] + sums[a + right + down];
      const square = (squares[a] - squares[a + right] - squares[a + down] + squares[a + right + down]) >>> 0;
      const spread = area * square - sum * sum;
      if (spread <= 0) continue;
      const norm = Math.fround(1 / Math.sqrt(spread));
      if (area * norm >= 0.1) continue; // flat
      let [stage, stump] = [0, 0];
      for (; stage < ends.length; stage++) {
        const end = ends[stage];
        let total = 0;
        for (; stump < end; stump++) {
          const o = 12 * stump;
          const w = 3 * stump;
          let value =
            (Math.imul(weights[w], sums[at + offsets[o]] - sums[at + offsets[o + 1]] - sums[at + offsets[o + 2]] + sums[at + offsets[o + 3]]) +
              Math.imul(weights[w + 1], sums[at + offsets[o + 4]] - sums[at + offsets[o + 5]] - sums[at + offsets[o + 6]] + sums[at + offsets[o + 7]])) | 0;
          if (weights[w + 2] !== 0) {
            value += Math.imul(weights[w + 2], sums[at + offsets[o + 8]] - sums[at + offsets[o + 9]] - sums[at + offsets[o + 10]] + sums[at + offsets[o + 11]]);
          }
          total += Math.fround(value * norm) < thresholds[stump] ? lefts[stump] : rights[stump];
        }
        if (total < stageThresholds[stage]) break;
      }
      if (stage === ends.length) found(x, y);
      else if (stage === 0) x += step; // nothing near is a face either
    }
  }
}

/** Mean rectangle and count of each group of more than `neighbours` windows, without those inside a better one. */
function grouped(windows, neighbours) {
  const groups = new Map();
  parted(windows).forEach((group, i) => groups.set(group, [...(groups.get(group) ?? []), windows[i]]));
  const means = [...groups.values()].map((members) => {
    const middle = (name) => rounded(Math.fround(members.reduce((sum, one) => sum + one[name], 0) * Math.fround(1 / members.length)));
    return { x: middle("x"), y: middle("y"), width: middle("width"), height: middle("height"), count: members.length };
  });
  const strong = means.filter(({ count }) => count > neighbours);
  return strong.filter((one) => !strong.some((other) => other !== one && within(one, other) && (other.count > Math.max(3, one.count) || one.count < 3)));
}

function within(one, other) {
  const [dx, dy] = [rounded(other.width * NEAR), rounded(other.height * NEAR)];
  return (
    one.x >= other.x - dx && one.y >= other.y - dy &&
    one.x + one.width <= other.x + other.width + dx && one.y + one.height <= other.y + other.height + dy
  );
}

/** A group number for each window; windows that are near each other, be it through others, share theirs. */
function parted(windows) {
  const parent = windows.map((_, i) => i);
  const root = (i) => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  windows.forEach((one, i) => {
    for (let j = 0; j < i; j++) if (near(one, windows[j])) parent[root(j)] = root(i);
  });
  return windows.map((_, i) => root(i));
}

function near(a, b) {
  const delta = NEAR * 0.5 * (Math.min(a.width, b.width) + Math.min(a.height, b.height));
  return (
    Math.abs(a.x - b.x) <= delta && Math.abs(a.y - b.y) <= delta &&
    Math.abs(a.x + a.width - b.x - b.width) <= delta && Math.abs(a.y + a.height - b.y - b.height) <= delta
  );
}
