// The live camera: consent, then frames one at a time to the server or to this device; boxes, names and a running plot come back.

import { onDevice, watchHere } from "./device.js";
import { $, bringUp, element, plural, save, say } from "./dom.js";
import { bars } from "./faces.js";
import { connect } from "./live.js";
import { setUpNeutral, showNeutral } from "./neutral.js";
import { drawOverlay, picture } from "./overlay.js";
import { drawLines, legend } from "./plot.js";
import { Problem } from "./server.js";

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

let session = null; // {media, end, neutral, frames, started, track, points, spoken}

export function setUpCamera() {
  $("consent").addEventListener("change", () => ($("start").disabled = !$("consent").checked));
  $("start").addEventListener("click", start);
  $("stop").addEventListener("click", () => stopCamera("The camera is off."));
  $("snapshot").addEventListener("click", snapshot);
  $("camera-device").addEventListener("change", change);
  $("camera-temporal").addEventListener("change", () => session && analyse(session));
  setUpNeutral((action) => session?.neutral(action));
  $("camera-legend").replaceChildren(legend());
  addEventListener("pagehide", () => stopCamera());
}

/** Turns the camera off and withdraws the consent; nothing where it is off. */
export function stopCamera(words = "", error = "") {
  if (!session) return;
  const { media, end } = session;
  session = null;
  media.getTracks().forEach((track) => track.stop());
  end();
  $("live").srcObject = null;
  $("camera-on").hidden = true;
  $("before").hidden = false;
  $("consent").checked = false; // who is in view next has not agreed yet
  $("start").disabled = true;
  document.title = document.title.replace("● ", "");
  say(words, error);
}

async function start() {
  if (!isSecureContext) return say("", "Not https: browsers give the camera to pages over https, or on this very machine, only.");
  if (!navigator.mediaDevices?.getUserMedia) return say("", "This browser has no camera access.");
  say("Waiting for the camera …");
  $("start").disabled = true;
  try {
    const media = await opened($("camera-device").value);
    session = { media, end: () => {}, neutral: () => {}, frames: 0, started: 0, track: 0, points: [], spoken: 0 };
    await play(media);
    $("before").hidden = true;
    $("camera-on").hidden = false;
    document.title = `● ${document.title}`;
    $("stop").focus({ preventScroll: true });
    bringUp($("status"));
    await listCameras();
    if (session) analyse(session);
  } catch (error) {
    say("", fault(error));
  } finally {
    $("start").disabled = !$("consent").checked;
  }
}

const fault = (error) => FAULTS[error.name] ?? `The camera could not be started: ${error.message}`;

function opened(id) {
  const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
  return navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, ...which }, audio: false });
}

async function play(media) {
  media.getVideoTracks()[0].addEventListener("ended", () => stopCamera("", "The camera was unplugged or switched off."));
  $("live").srcObject = media;
  await $("live").play();
}

/** Offers the cameras of this device, where there are several. */
async function listCameras() {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
  const used = session?.media.getVideoTracks()[0].getSettings().deviceId;
  $("camera-device").replaceChildren(
    ...cameras.map(({ deviceId, label }, i) => {
      const option = element("option", "", label || `Camera ${i + 1}`);
      [option.value, option.selected] = [deviceId, deviceId === used];
      return option;
    }),
  );
  $("camera-choice").hidden = cameras.length < 2;
}

/** Goes over to the camera that was chosen. */
async function change() {
  const mine = session;
  if (!mine) return;
  mine.media.getTracks().forEach((track) => track.stop()); // first: some phones open one camera at a time
  try {
    mine.media = await opened($("camera-device").value);
    if (session !== mine) return mine.media.getTracks().forEach((track) => track.stop());
    await play(mine.media);
    analyse(mine);
  } catch (error) {
    if (session === mine) stopCamera("", fault(error));
  }
}

/** Begins to analyse, anew where something was chosen. */
function analyse(mine) {
  mine.end();
  Object.assign(mine, { frames: 0, started: performance.now(), track: 0, points: [], spoken: -Infinity, neutral: () => {} });
  showNeutral(null, []);
  const temporal = $("camera-temporal").value;
  if (onDevice()) return watch(mine, temporal);
  const connection = connect(temporal, {
    frame: () => frame().convertToBlob({ type: "image/jpeg", quality: 0.85 }),
    onFaces: (answer) => show(mine, answer),
    onWait(words) {
      say(words);
      Object.assign(mine, { points: [], spoken: -Infinity });
      if (words) drawOverlay($("overlay"));
    },
    onEnd: (words) => stopCamera("", words),
  });
  Object.assign(mine, connection);
}

async function watch(mine, temporal) {
  let ended = false;
  mine.end = () => (ended = true);
  try {
    say("The camera is on; waiting for the model …");
    const { look, neutral } = await watchHere(temporal);
    if (ended) return;
    mine.neutral = neutral;
    mine.started = performance.now();
    while (!ended) {
      const begun = performance.now();
      const answer = await look(frame().transferToImageBitmap(), (begun - mine.started) / 1000);
      if (!ended) show(mine, answer);
      await new Promise((resolve) => setTimeout(resolve, begun + PAUSE - performance.now()));
    }
  } catch (error) {
    if (!ended) stopCamera("", error.message);
    if (!(error instanceof Problem)) throw error;
  }
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
  drawOverlay($("overlay"), answer);
  showNeutral(answer.neutral, answer.faces);
  const first = answer.faces.find((face) => face.track === mine.track) ?? answer.faces[0];
  if (first && first.track !== mine.track) [mine.track, mine.points] = [first.track, []];
  if (first) mine.points.push({ time: answer.time, smoothed: first.smoothed });
  while (mine.points.length && mine.points[0].time < answer.time - PLOT_SECONDS) mine.points.shift();
  drawLines($("plot"), mine.points, PLOT_SECONDS);
  const rate = mine.frames / ((performance.now() - mine.started) / 1000);
  $("rate").textContent = `${plural(Math.round(rate), "frame")} a second, ${answer.milliseconds.toFixed(0)} ms each`;
  $("now").replaceChildren(...(first ? [bars(first.smoothed)] : []));
  if (answer.time - mine.spoken > SPOKEN_SECONDS) {
    mine.spoken = answer.time;
    say(answer.faces.map((face) => `Person ${face.track}: ${face.smoothed_emotion}`).join(", ") || "No face in view.");
  }
}

async function snapshot() {
  save(await picture($("live"), $("overlay")), "snapshot.png");
  say("The snapshot was saved to your downloads.");
}
