// Probabilities over time, drawn on a canvas: as running lines, and as stacked areas with a band of names.

import { pen, style } from "./dom.js";
import { COLOURS, EMOTIONS } from "./emotions.js";

const LAST_SECONDS = 0.1; // for which the last point of a part holds: a frame, of slow films

/** Lines over the last `seconds`; `points` are {time, smoothed} of one person, oldest first. */
export function drawLines(canvas, points, seconds) {
  const { context, width, height } = pen(canvas);
  const end = points.length ? points.at(-1).time : 0;
  const x = (time) => width - ((end - time) / seconds) * width;
  const y = (share) => 4 + (1 - share) * (height - 8);
  context.strokeStyle = style("--line");
  context.lineWidth = 1;
  for (const share of [0, 0.5, 1]) stroke(context, [[0, y(share)], [width, y(share)]]);
  for (const emotion of EMOTIONS) {
    const line = points.map((point) => [x(point.time), y(point.smoothed[emotion])]);
    context.lineJoin = "round";
    context.strokeStyle = style("--edge"); // a rim, since no colour stands out on light and on dark
    context.lineWidth = 4;
    stroke(context, line);
    context.strokeStyle = COLOURS[emotion];
    context.lineWidth = 2.5;
    stroke(context, line);
  }
}

/** Stacked areas from 0 to `duration`; `points` are {time, smoothed, label} of one person, `now` is where the film stands. */
export function drawStack(canvas, points, duration, now) {
  const { context, width, height } = pen(canvas);
  const band = 10;
  const x = (time) => (time / duration) * width;
  for (const part of parts(points)) {
    let floor = part.map(() => 0);
    for (const emotion of EMOTIONS) {
      const ceiling = part.map((point, i) => floor[i] + point.smoothed[emotion]);
      context.fillStyle = COLOURS[emotion];
      context.beginPath();
      const y = (share) => (1 - share) * (height - band - 2);
      part.forEach((point, i) => context.lineTo(x(point.time), y(ceiling[i])));
      for (let i = part.length - 1; i >= 0; i--) context.lineTo(x(part[i].time), y(floor[i]));
      context.fill();
      floor = ceiling;
    }
    part.forEach((point, i) => {
      const next = part[i + 1]?.time ?? point.time + duration / 500;
      context.fillStyle = COLOURS[point.label];
      context.fillRect(x(point.time), height - band, Math.max(1, x(next) - x(point.time) + 0.5), band);
    });
  }
  context.fillStyle = style("--ink");
  context.fillRect(Math.min(width - 2, x(now)), 0, 2, height);
}

/** The label at a time in seconds; null where the person is out of sight. */
export function labelAt(points, time) {
  const part = parts(points).find((one) => one[0].time <= time && time <= one.at(-1).time + LAST_SECONDS);
  return part?.findLast((point) => point.time <= time).label ?? null;
}

/** Successive points, parted where the person was out of sight for half a second. */
function parts(points) {
  const made = [];
  for (const point of points) {
    if (made.length && point.time - made.at(-1).at(-1).time < 0.5) made.at(-1).push(point);
    else made.push([point]);
  }
  return made;
}

function stroke(context, line) {
  context.beginPath();
  line.forEach(([x, y]) => context.lineTo(x, y));
  context.stroke();
}

/** A list of names with their colours. */
export function legend() {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [name, colour] of Object.entries(COLOURS)) {
    const item = document.createElement("li");
    const swatch = document.createElement("i");
    swatch.style.background = colour;
    item.append(swatch, name);
    list.append(item);
  }
  return list;
}
