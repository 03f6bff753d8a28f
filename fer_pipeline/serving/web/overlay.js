// What is drawn over the camera's picture, which is shown as in a mirror.

import { pen } from "./dom.js";
import { COLOURS } from "./emotions.js";

const HIGH = 24; // of a label, in CSS pixels

/** Draws the faces of an answer over a video; without an answer, nothing. */
export function drawOverlay(canvas, answer = null) {
  const { context, width, height } = pen(canvas);
  if (!answer) return;
  const [scaleX, scaleY] = [width / answer.width, height / answer.height];
  context.font = "600 15px system-ui, sans-serif";
  for (const face of answer.faces) {
    const [w, h] = [face.box.width * scaleX, face.box.height * scaleY];
    const [x, y] = [width - face.box.x * scaleX - w, face.box.y * scaleY];
    const share = face.smoothed[face.smoothed_emotion];
    const text = `${face.track}: ${face.smoothed_emotion}${share === undefined ? "" : ` ${Math.round(100 * share)} %`}`;
    context.lineWidth = 5;
    context.strokeStyle = "#000a";
    context.strokeRect(x, y, w, h);
    context.lineWidth = 3;
    context.strokeStyle = context.fillStyle = COLOURS[face.smoothed_emotion];
    context.strokeRect(x, y, w, h);
    const wide = context.measureText(text).width + 12;
    const left = Math.min(Math.max(0, x - 1), width - wide);
    const top = y >= HIGH ? y - HIGH : Math.min(y + h, height - HIGH);
    context.fillRect(left, top, wide, HIGH);
    context.fillStyle = "#000";
    context.fillText(text, left + 6, top + 17);
  }
}

/** What a person sees, video and overlay, as a promise of a PNG. */
export function picture(video, overlay) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.save();
  context.scale(-1, 1);
  context.drawImage(video, -canvas.width, 0);
  context.restore();
  context.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
