// Where analysis runs: on the server, or on this device, by the worker in device/ with the network that the server uses.

import { $, say } from "./dom.js";
import { ask, Problem } from "./server.js";

const KEY = "fer-where";
const FILES = ["runtime", "network", "detector"];
const TRIES = 3; // to get facts and network of the same model while another one takes over
const SERVER_INSTEAD = "Choose “On the server”, or another browser.";

let opened = null; // promise of {worker, facts}, from when this device is first asked for
let asked = 0;
const waiting = new Map(); // what the worker was asked for -> {resolve, reject}

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
  const { worker } = await ready();
  return request(worker, "picture", { file, framing });
}

/** The heat map, a PNG file, of a face of a picture file by its number from 1. */
export async function explainHere(file, framing, number) {
  const { worker } = await ready();
  return request(worker, "explain", { file, framing, number });
}

/**
 * Two functions: `look` takes bitmaps and their times in seconds, and gives answers as those of the WebSocket /live; `neutral`
 * takes "collect" or "clear", as that does.
 */
export async function watchHere(temporal) {
  const { worker } = await ready();
  await request(worker, "watch", { temporal });
  return {
    look: (bitmap, time) => request(worker, "frame", { bitmap, time }, [bitmap]),
    neutral: (action) => request(worker, "neutral", { action }),
  };
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

function ready() {
  opened ??= open().catch((error) => {
    opened = null; // the next picture tries again
    $("loaded").textContent = "The model is not loaded.";
    throw error;
  });
  return opened;
}

async function open() {
  if (typeof WebAssembly === "undefined") throw new Problem(`This browser has no WebAssembly, or it is switched off. ${SERVER_INSTEAD}`);
  if (typeof OffscreenCanvas === "undefined") throw new Problem(`This browser is too old to analyse pictures itself. ${SERVER_INSTEAD}`);
  try {
    $("loading").hidden = false;
    const { facts, files } = await fetched(TRIES);
    $("loaded").textContent = "Starting the model …";
    const worker = started();
    await request(worker, "open", { facts, ...files }, Object.values(files));
    $("loaded").textContent = `The model is loaded: ${facts.model.network} ${facts.model.fingerprint}.`;
    return { worker, facts };
  } catch (error) {
    if (error instanceof RangeError) throw new Problem(`This device has not enough memory for the model. ${SERVER_INSTEAD}`);
    throw error;
  } finally {
    $("loading").hidden = true;
  }
}

async function fetched(tries) {
  const facts = await (await ask("model/device")).json();
  const [total, sent] = ["bytes", "sent"].map((size) => FILES.reduce((sum, name) => sum + facts[name][size], 0));
  let received = 0;
  const report = (bytes) => {
    received += bytes;
    $("loading").value = received / total;
  };
  report(0);
  $("loaded").textContent = `Loading the model, ${(sent / 1e6).toFixed(1)} MB …`;
  const answers = await Promise.all(FILES.map((name) => ask(`model/${name}`)));
  const tag = answers[1].headers.get("ETag");
  const contents = await Promise.all(answers.map((answer) => content(answer, report)));
  if (tag && !tag.includes(facts.network.sha256)) {
    if (tries <= 1) throw new Problem("The model on the server keeps changing: try again in a minute.");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return fetched(tries - 1);
  }
  return { facts, files: Object.fromEntries(FILES.map((name, i) => [name, contents[i]])) };
}

/** An answer's body as an ArrayBuffer; `report` is told of the bytes as they come. */
async function content(answer, report) {
  const parts = [];
  const reader = answer.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      report(part.value.length);
    }
  } catch (error) {
    throw new Problem(`The model could not be loaded: ${error.message}`);
  }
  return new Blob(parts).arrayBuffer();
}

function started() {
  const worker = new Worker(new URL("device/worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data: { id, answer, fault } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (fault) reject(new Problem(fault));
    else resolve(answer);
  });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    worker.terminate();
    opened = null;
    const problem = new Problem(`The model could not be run in this browser (${event.message || "no reason given"}). ${SERVER_INSTEAD}`);
    for (const { reject } of waiting.values()) reject(problem);
    waiting.clear();
  });
  return worker;
}

function request(worker, task, message = {}, transferred = []) {
  const id = ++asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, ...message }, transferred);
  });
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
