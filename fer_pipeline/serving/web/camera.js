// The live camera: consent, then frames one at a time, over a WebSocket or to this device; boxes, names and a running plot come back.

import { onDevice, watchHere } from "./device.js";
import { $, pen, say } from "./dom.js";
import { COLOURS } from "./emotions.js";
import { bars } from "./faces.js";
import { drawLines, legend } from "./plot.js";
import { ask, Problem, token } from "./server.js";

const SIDE = 640; // longer side of what is sent: the detector looks no closer
const PLOT_SECONDS = 20;
const PAUSE = 33; // milliseconds from one frame to the next on this device, at least
const SPOKEN_SECONDS = 3;
const FAULTS = {
  NotAllowedError: "No permission: allow this page to use the camera in your browser's address bar, then try again.",
  NotFoundError: "No camera was found on this device.",
  NotReadableError: "The camera is in use by another program.",
  OverconstrainedError: "No camera of this device fits.",
};

let session = null; // {media, socket, frames, started, track, points, spoken}

export function setUpCamera() {
  $("consent").addEventListener("change", () => ($("start").disabled = !$("consent").checked));
  $("start").addEventListener("click", start);
  $("stop").addEventListener("click", () => stopCamera("The camera is off."));
  $("snapshot").addEventListener("click", snapshot);
  $("camera-legend").replaceChildren(legend());
  addEventListener("pagehide", () => stopCamera());
}

export function stopCamera(words = "", error = "") {
  if (!session) return;
  const { media, socket } = session;
  session = null;
  media.getTracks().forEach((track) => track.stop());
  socket?.close();
  $("live").srcObject = null;
  $("camera-on").hidden = true;
  $("before").hidden = false;
  document.title = document.title.replace("● ", "");
  say(words, error);
}

async function start() {
  if (!isSecureContext) return say("", "Not https: browsers give the camera to pages over https, or on this very machine, only.");
  if (!navigator.mediaDevices?.getUserMedia) return say("", "This browser has no camera access.");
  say("Waiting for the camera …");
  $("start").disabled = true;
  try {
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" };
    const media = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    session = { media, socket: null, frames: 0, started: performance.now(), track: 0, points: [], spoken: 0 };
    media.getVideoTracks()[0].addEventListener("ended", () => stopCamera("", "The camera was unplugged or switched off."));
    $("live").srcObject = media;
    await $("live").play();
    $("before").hidden = true;
    $("camera-on").hidden = false;
    document.title = `● ${document.title}`;
    $("stop").focus();
    if (onDevice()) watch(session);
    else connect(session);
  } catch (error) {
    say("", FAULTS[error.name] ?? `The camera could not be started: ${error.message}`);
  } finally {
    $("start").disabled = !$("consent").checked;
  }
}

async function watch(mine) {
  try {
    say("The camera is on; waiting for the model …");
    const look = await watchHere();
    [mine.started, mine.spoken] = [performance.now(), -Infinity]; // the first answer is said at once
    while (session === mine) {
      const begun = performance.now();
      const answer = await look(frame().transferToImageBitmap(), (begun - mine.started) / 1000);
      if (session === mine) show(mine, answer);
      await new Promise((resolve) => setTimeout(resolve, begun + PAUSE - performance.now()));
    }
  } catch (error) {
    if (session === mine) stopCamera("", error.message);
    if (!(error instanceof Problem)) throw error;
  }
}

function connect(mine) {
  const address = new URL("live", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, ["fer.live.1", ...(token() ? [`bearer.${encoded(token())}`] : [])]);
  socket.binaryType = "arraybuffer";
  mine.socket = socket;
  let pause = 50;
  let opened = false;
  socket.addEventListener("open", () => (opened = true));
  socket.addEventListener("message", async (event) => {
    if (session !== mine) return;
    const answer = JSON.parse(event.data);
    if (answer.type === "model") pause = 1100 / answer.limits.frames_per_second;
    else if (answer.type === "faces") show(mine, answer);
    else if (answer.type === "error" && answer.frame === undefined) return say("", answer.message);
    setTimeout(() => session === mine && send(mine), pause);
  });
  socket.addEventListener("close", async () => {
    if (session !== mine) return;
    const words = $("error").textContent || "The connection to the server was lost.";
    stopCamera("", words);
    if (!opened && (await newToken())) start();
  });
}

/** Whether the token was the fault, and a person gave another one: a script cannot see how a WebSocket was refused. */
async function newToken() {
  const before = token();
  try {
    await ask("model/device");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
  return token() !== before;
}

async function send(mine) {
  const blob = await frame().convertToBlob({ type: "image/jpeg", quality: 0.85 });
  if (session === mine && mine.socket.readyState === WebSocket.OPEN) mine.socket.send(await blob.arrayBuffer());
}

/** What the camera shows now, on a canvas. */
function frame() {
  const live = $("live");
  const scale = Math.min(1, SIDE / Math.max(live.videoWidth, live.videoHeight));
  const canvas = new OffscreenCanvas(Math.round(live.videoWidth * scale), Math.round(live.videoHeight * scale));
  canvas.getContext("2d").drawImage(live, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function show(mine, answer) {
  mine.frames += 1;
  const { context, width, height } = pen($("overlay"));
  drawBoxes(context, answer.faces, width / answer.width, height / answer.height, width);
  const first = answer.faces.find((face) => face.track === mine.track) ?? answer.faces[0];
  if (first && first.track !== mine.track) [mine.track, mine.points] = [first.track, []];
  if (first) mine.points.push({ time: answer.time, smoothed: first.smoothed });
  while (mine.points.length && mine.points[0].time < answer.time - PLOT_SECONDS) mine.points.shift();
  drawLines($("plot"), mine.points, PLOT_SECONDS);
  const rate = mine.frames / ((performance.now() - mine.started) / 1000);
  $("rate").textContent = `${rate.toFixed(0)} frames a second, ${answer.milliseconds.toFixed(0)} ms each`;
  $("now").replaceChildren(...(first ? [bars(first.smoothed)] : []));
  if (answer.time - mine.spoken > SPOKEN_SECONDS) {
    mine.spoken = answer.time;
    say(answer.faces.map((face) => `Person ${face.track}: ${face.smoothed_emotion}`).join(", ") || "No face in view.");
  }
}

/** Boxes in a picture that is shown as in a mirror. */
function drawBoxes(context, faces, scaleX, scaleY, width) {
  context.font = "600 15px system-ui, sans-serif";
  for (const face of faces) {
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
    const top = Math.max(0, y - 24);
    context.fillRect(Math.min(Math.max(0, x - 1), width - wide), top, wide, 24);
    context.fillStyle = "#000";
    context.fillText(text, Math.min(Math.max(0, x - 1), width - wide) + 6, top + 17);
  }
}

function snapshot() {
  const live = $("live");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [live.videoWidth, live.videoHeight];
  const context = canvas.getContext("2d");
  context.save();
  context.scale(-1, 1);
  context.drawImage(live, -canvas.width, 0);
  context.restore();
  context.drawImage($("overlay"), 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "snapshot.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    say("The snapshot was saved to your downloads.");
  }, "image/png");
}

function encoded(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
