// Pictures as the server makes them (fer_pipeline/imaging on OpenCV), with the same resampling and rounding.
// A picture is {width, height, channels, data}, its bytes row by row; gray has one channel, colour has the four of a canvas.

export const FACE_SIZE = 48;

/** Half to even, as Python's round() and OpenCV's cvRound(). A Uint8ClampedArray rounds so by itself. */
export function rounded(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

export function picture(width, height, channels, data = new Uint8ClampedArray(width * height * channels)) {
  return { width, height, channels, data };
}

/** Gray by the weights of ITU-R BT.601, in the fixed point of OpenCV. */
export function toGray(colour) {
  if (colour.channels === 1) return colour;
  const gray = picture(colour.width, colour.height, 1);
  const { data } = colour;
  for (let i = 0, at = 0; i < gray.data.length; i++, at += 4) {
    gray.data[i] = (9798 * data[at] + 19235 * data[at + 1] + 3735 * data[at + 2] + 16384) >> 15;
  }
  return gray;
}

/** The picture area-averaged so that its longer side has `longestSide` pixels; the same one where it is no longer. */
export function shrink(image, longestSide) {
  const scale = longestSide / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  return resizedArea(image, Math.max(1, rounded(image.width * scale)), Math.max(1, rounded(image.height * scale)));
}

/** The part inside a box [left, top, right, bottom]; what lies outside the picture repeats the nearest edge. */
export function crop(image, box) {
  const [x1, y1, x2, y2] = box.map(rounded);
  const { width, height, channels, data } = image;
  const made = picture(x2 - x1, y2 - y1, channels);
  let to = 0;
  for (let y = y1; y < y2; y++) {
    const row = Math.min(Math.max(y, 0), height - 1) * width;
    for (let x = x1; x < x2; x++) {
      const from = (row + Math.min(Math.max(x, 0), width - 1)) * channels;
      for (let c = 0; c < channels; c++) made.data[to++] = data[from + c];
    }
  }
  return made;
}

/** The part inside the box after turning the picture about the box's middle, in degrees against the clock. */
export function cropTurned(image, box, degrees) {
  const [x1, y1, x2, y2] = box;
  const made = picture(Math.max(1, rounded(x2 - x1)), Math.max(1, rounded(y2 - y1)), image.channels);
  const reach = Math.ceil(Math.hypot(made.width, made.height) / 2) + 1; // whatever the angle, all of it comes from this near
  const [middleX, middleY] = [rounded((x1 + x2) / 2), rounded((y1 + y2) / 2)];
  const around = crop(image, [middleX - reach, middleY - reach, middleX + reach, middleY + reach]);
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  for (let y = 0, to = 0; y < made.height; y++) {
    for (let x = 0; x < made.width; x++, to += image.channels) {
      const [dx, dy] = [x - made.width / 2 + 0.5, y - made.height / 2 + 0.5];
      sample(around, reach - 0.5 + cos * dx - sin * dy, reach - 0.5 + sin * dx + cos * dy, made.data, to);
    }
  }
  return made;
}

/** The picture turned by `quarters` times 90 degrees against the clock; the same one for 0. */
export function turned(image, quarters) {
  let now = image;
  for (let turn = 0; turn < quarters % 4; turn++) now = turnedOnce(now);
  return now;
}

/** Where a box of a picture of this size is once it is turned by `quarters` times 90 degrees against the clock. */
export function turnedBox([x1, y1, x2, y2], { width, height }, quarters) {
  const boxes = [
    [x1, y1, x2, y2],
    [y1, width - x2, y2, width - x1],
    [width - x2, height - y2, width - x1, height - y1],
    [height - y2, x1, height - y1, x2],
  ];
  return boxes[quarters % 4];
}

/** 48x48 of a gray face of any size: area-averaged when shrinking, bilinear when growing, the same one at 48x48. */
export function resizedFace(gray) {
  if (gray.width === FACE_SIZE && gray.height === FACE_SIZE) return gray;
  const shrinking = Math.min(gray.width, gray.height) > FACE_SIZE;
  return shrinking ? resizedArea(gray, FACE_SIZE, FACE_SIZE) : resizedLinear(gray, FACE_SIZE, FACE_SIZE, blend);
}

/** Area-averaged; for shrinking only. */
export function resizedArea(image, width, height) {
  const { channels, data } = image;
  const made = picture(width, height, channels);
  const [columns, rows] = [shares(image.width, width), shares(image.height, height)];
  const halves = image.width === 2 * width && image.height === 2 * height; // OpenCV rounds up half a level there
  const sums = new Float32Array(width * channels);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let row = rows.starts[y]; row < rows.starts[y + 1]; row++) {
      const from = rows.pixels[row] * image.width;
      for (let x = 0, to = 0; x < width; x++) {
        for (let c = 0; c < channels; c++, to++) {
          let sum = 0;
          for (let column = columns.starts[x]; column < columns.starts[x + 1]; column++) {
            sum = Math.fround(sum + Math.fround(data[(from + columns.pixels[column]) * channels + c] * columns.weights[column]));
          }
          sums[to] += Math.fround(rows.weights[row] * sum); // in float32 throughout, as OpenCV adds up
        }
      }
    }
    for (let i = 0; i < sums.length; i++) made.data[y * sums.length + i] = halves ? Math.floor(sums[i] + 0.5) : sums[i];
  }
  return made;
}

/** Bilinear, gray, as OpenCV's INTER_LINEAR_EXACT. */
export const resizedLinearExact = (gray, width, height) => resizedLinear(gray, width, height, blendExact);

// How two rows of sums (pixel times share, up to 255 << bits) are joined by the share of the lower one, and how places are computed.
const blend = { bits: 11, exact: Math.fround, mix: (upper, lower, share) => ((((2048 - share) * (upper >> 4)) >> 16) + ((share * (lower >> 4)) >> 16) + 2) >> 2 };
const blendExact = { bits: 8, exact: (value) => value, mix: (upper, lower, share) => ((256 - share) * upper + share * lower + 32768) >>> 16 };

function resizedLinear(gray, width, height, { bits, exact, mix }) {
  const made = picture(width, height, 1);
  const [columns, rows] = [neighbours(gray.width, width, bits, exact), neighbours(gray.height, height, bits, exact)];
  const one = 1 << bits;
  const [upper, lower] = [new Int32Array(width), new Int32Array(width)];
  const across = (row, into) => {
    const from = row * gray.width;
    for (let x = 0; x < width; x++) {
      const share = columns.shares[x];
      into[x] = (one - share) * gray.data[from + columns.first[x]] + share * gray.data[from + columns.second[x]];
    }
  };
  for (let y = 0; y < height; y++) {
    across(rows.first[y], upper);
    across(rows.second[y], lower);
    for (let x = 0; x < width; x++) made.data[y * width + x] = mix(upper[x], lower[x], rows.shares[y]);
  }
  return made;
}

/** Which of `from` pixels each of `to` cells covers, and their weights: those from starts[cell] to before starts[cell + 1]. */
function shares(from, to) {
  const scale = from / to;
  const [starts, pixels, weights] = [[0], [], []];
  for (let cell = 0; cell < to; cell++) {
    const [start, end] = [cell * scale, (cell + 1) * scale];
    const wide = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), last);
    const add = (pixel, share) => {
      pixels.push(pixel);
      weights.push(share / wide);
    };
    if (first - start > 1e-3) add(first - 1, first - start);
    for (let pixel = first; pixel < last; pixel++) add(pixel, 1);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, wide));
    starts.push(pixels.length);
  }
  return { starts: Int32Array.from(starts), pixels: Int32Array.from(pixels), weights: Float32Array.from(weights) };
}

/** For each of `to` pixels, the two of `from` that it lies between and the share of the second, in fixed point. */
function neighbours(from, to, bits, exact) {
  const [first, second, shares] = [new Int32Array(to), new Int32Array(to), new Int32Array(to)];
  const inside = (pixel) => Math.min(Math.max(pixel, 0), from - 1);
  for (let i = 0; i < to; i++) {
    const at = exact((i + 0.5) * (from / to) - 0.5);
    const low = Math.floor(at);
    [first[i], second[i]] = [inside(low), inside(low + 1)];
    shares[i] = rounded((at - low) * (1 << bits));
  }
  return { first, second, shares };
}

/** Writes the value between four pixels, edges repeated. */
function sample({ width, height, channels, data }, exactX, exactY, into, to) {
  const [x, y] = [Math.floor(32 * exactX + 0.5) / 32, Math.floor(32 * exactY + 0.5) / 32]; // OpenCV looks no closer
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, down] = [x - left, y - top];
  const at = (column, row) => (Math.min(Math.max(row, 0), height - 1) * width + Math.min(Math.max(column, 0), width - 1)) * channels;
  const [a, b, c, d] = [at(left, top), at(left + 1, top), at(left, top + 1), at(left + 1, top + 1)];
  for (let i = 0; i < channels; i++) {
    const upper = data[a + i] * (1 - right) + data[b + i] * right;
    const lower = data[c + i] * (1 - right) + data[d + i] * right;
    into[to + i] = upper * (1 - down) + lower * down;
  }
}

function turnedOnce({ width, height, channels, data }) {
  const made = picture(height, width, channels);
  let to = 0;
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      const from = (x * width + (width - 1 - y)) * channels;
      for (let c = 0; c < channels; c++) made.data[to++] = data[from + c];
    }
  }
  return made;
}
