// The answers as files, with the fields of docs/outputs.md and besides `page_number`, which counts the faces from left to right.
// All of it is made in the browser.

import { save } from "./dom.js";
import { COLOURS, EMOTIONS } from "./emotions.js";
import { facesOf } from "./result.js";
import { Problem } from "./server.js";

const MOST_PIXELS = 16_000_000; // of the drawn picture: some browsers draw nothing on a larger canvas

const COLUMNS = {
  file: ({ file }) => file.name,
  picture_width: ({ prediction }) => prediction?.picture.width,
  picture_height: ({ prediction }) => prediction?.picture.height,
  faces: ({ prediction }) => prediction?.faces.length,
  face: (_, face) => face.place,
  ...each(["x", "y", "width", "height"], (name) => (_, face) => face.box?.[name]),
  ...each(["detection_score", "rotation", "emotion", "top_emotion", "confidence"], (name) => (_, face) => face[name]),
  ...each(EMOTIONS, (name) => (_, face) => face.probabilities?.[name]),
  neutral_reference: (_, face) => face.neutral_reference,
  ...each(["size", "sharpness", "brightness", "outside"], (name) => (_, face) => face.quality?.[name]),
  ...each(["roll", "yaw"], (name) => (_, face) => face.pose?.[name]),
  reasons: (_, face) => face.reasons?.join(" "),
  model: ({ prediction }) => prediction?.model.name,
  fingerprint: ({ prediction }) => prediction?.model.fingerprint,
  error: ({ error }) => error?.message,
  page_number: (_, face) => face.page_number,
};

function each(names, column) {
  return Object.fromEntries(names.map((name) => [name, column(name)]));
}

/** Saves the answers for pictures as one JSON or CSV file. */
export function saveAll(kind, items) {
  const text = kind === "json" ? json(items) : csv(items);
  save(new Blob([text], { type: kind === "json" ? "application/json" : "text/csv" }), `faces.${kind}`);
}

function json(items) {
  const answers = items.map((item) => {
    if (item.error) return { file: item.file.name, picture: null, faces: [], error: { code: item.error.code, message: item.error.message } };
    const faces = facesOf(item).map(({ feedback: _, place: __, ...face }) => face); // the token is good for this page alone
    return { file: item.file.name, ...item.prediction, faces, error: null };
  });
  return `${JSON.stringify(answers, null, 1)}\n`;
}

function csv(items) {
  const rows = items.flatMap((item) => (item.prediction?.faces.length ? facesOf(item) : [{}]).map((face) => row(item, face)));
  return [Object.keys(COLUMNS).join(","), ...rows, ""].join("\r\n");
}

function row(item, face) {
  return Object.values(COLUMNS).map((column) => quoted(column(item, face) ?? "")).join(",");
}

function quoted(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value); // no formula for a spreadsheet
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Saves a picture with its boxes drawn in, as JPEG. */
export async function savePicture(item) {
  const image = new Image();
  image.src = item.address;
  await image.decode();
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (image.naturalWidth * image.naturalHeight)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(image.naturalWidth * scale), Math.round(image.naturalHeight * scale)];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // JPEG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const across = canvas.width / item.prediction.picture.width;
  facesOf(item).forEach((face) => face.box && drawFace(context, face, across, canvas));
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  if (!blob) throw new Problem("This browser could not draw the picture: it may be too large for its memory.");
  save(blob, `${item.file.name.replace(/\.[^.]*$/, "")}-faces.jpg`);
}

function drawFace(context, face, scale, { width }) {
  const [x, y, w, h] = ["x", "y", "width", "height"].map((name) => face.box[name] * scale);
  const line = Math.max(2, Math.round(w / 60));
  const size = Math.max(13, Math.round(w / 9));
  const text = `${face.page_number} ${face.emotion} ${Math.round(100 * face.confidence)} %`;
  context.lineWidth = line;
  context.strokeStyle = context.fillStyle = COLOURS[face.emotion];
  context.strokeRect(x, y, w, h);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + size;
  const left = Math.max(0, Math.min(x - line / 2, width - wide));
  const high = 1.5 * size;
  const top = y >= high ? y - high : y + h;
  context.fillRect(left, top, wide, high);
  context.fillStyle = "#000";
  context.textBaseline = "middle";
  context.fillText(text, left + size / 2, top + high / 2);
}
