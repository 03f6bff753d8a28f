// Where analysis runs: on the server, or on this device, by device/fer.js with the network that the server uses.

import { FaceRecognizer } from "./device/fer.js";
import { $, say } from "./dom.js";
import { ask, Problem } from "./server.js";

const KEY = "fer-where";

let opened = null; // promise of a FaceRecognizer, from when this device is first asked for

export const onDevice = () => $("where-device").checked;

/** `changed` is called when a person chooses the other place. */
export function setUpDevice(changed) {
  for (const place of ["server", "device"]) {
    $(`where-${place}`).addEventListener("change", () => {
      remember(place);
      changed();
      show();
    });
  }
  $("where-device").checked = remembered() === "device";
  show();
}

/** The faces of a picture file, as POST /predict answers; nothing is sent. */
export async function predictHere(file, framing) {
  return (await ready()).recognize(file, { framing });
}

/** The heat map, a PNG file, of a face of a picture file by its number from 1. */
export async function explainHere(file, framing, number) {
  return (await ready()).explain(file, number, { framing });
}

/**
 * One camera: `look` takes bitmaps and their times in seconds, and gives answers as those of the WebSocket /live; `neutral`
 * takes "collect" or "clear", as that does.
 */
export async function watchHere(temporal) {
  return (await ready()).camera({ temporal });
}

async function show() {
  document.body.dataset.where = onDevice() ? "device" : "server";
  if (!onDevice()) return;
  try {
    await ready();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (onDevice()) say("", error.message);
  }
}

async function ready() {
  const known = opened;
  if ((await known)?.closed && opened === known) opened = null; // its worker broke: another one may do
  opened ??= open().catch((error) => {
    opened = null; // the next picture tries again
    $("loaded").textContent = "The model is not loaded.";
    throw error;
  });
  return opened;
}

async function open() {
  $("loading").hidden = false;
  try {
    const recognizer = await FaceRecognizer.open({ get: ask, onProgress });
    $("loaded").textContent = `The model is loaded: ${recognizer.model.network} ${recognizer.model.fingerprint}.`;
    return recognizer;
  } catch (error) {
    if (error.code === "device") throw new Problem(`${error.message} Choose “On the server”, or another browser.`, error.code);
    throw error;
  } finally {
    $("loading").hidden = true;
  }
}

function onProgress({ phase, share, bytes }) {
  $("loading").value = share;
  $("loaded").textContent = phase === "loading" ? `Loading the model, ${(bytes / 1e6).toFixed(1)} MB …` : "Starting the model …";
}

// A browser that keeps nothing forgets the choice, too.
function remember(place) {
  try {
    localStorage.setItem(KEY, place);
  } catch {
    return;
  }
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
