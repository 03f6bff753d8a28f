// A picture goes to POST /predict, or stays on this device; its faces come back as boxes and bars, and a heat map on request.

import { explainHere, onDevice, predictHere } from "./device.js";
import { $, element, plural, say } from "./dom.js";
import { card } from "./faces.js";
import { correction } from "./feedback.js";
import { ask, Problem } from "./server.js";

let asked = 0; // only the answer to the latest question is shown
let shown = null; // object URL of the picture on the page
let current = null; // the file on the page

const TURNS = { 90: "90° against the clock", 180: "180°", 270: "90° with the clock" };

export function setUpPicture() {
  $("file").addEventListener("change", () => {
    if ($("file").files.length) showPicture($("file").files[0]);
    $("file").value = "";
  });
  $("whole").addEventListener("change", () => current && showPicture(current));
  $("drop").addEventListener("submit", (event) => event.preventDefault());
}

export async function showPicture(file) {
  const turn = ++asked;
  current = file;
  busy(true);
  $("result").hidden = true;
  say("Looking for faces …");
  try {
    const answer = onDevice() ? await predictHere(file, framing()) : await predictThere(file);
    if (turn === asked) await show(file, answer);
  } catch (error) {
    if (turn === asked) tell(error);
  } finally {
    if (turn === asked) busy(false);
  }
}

/** Leaves no picture on the page. */
export function forgetPicture() {
  asked += 1;
  current = null;
  busy(false);
  $("result").hidden = true;
  $("picture").removeAttribute("src");
}

const framing = () => ($("whole").checked ? "face" : "auto");

async function predictThere(file) {
  return (await ask(`predict?framing=${framing()}`, { method: "POST", body: form(file) })).json();
}

async function explainThere(number) {
  return (await ask(`explain?framing=${framing()}&face=${number}`, { method: "POST", body: form(current) })).blob();
}

function form(file) {
  const made = new FormData();
  made.append("picture", file, "picture");
  return made;
}

function tell(error) {
  if (!(error instanceof Problem)) throw error;
  say("", error.message);
}

async function show(file, prediction) {
  if (shown) URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(file);
  $("picture").src = shown;
  const visible = await $("picture").decode().then(() => true, () => false);
  if (!visible && !onDevice()) await showDrawnThere(file);
  const { width, height } = prediction.picture;
  $("frame").classList.toggle("small", Math.max(width, height) < 200);
  $("boxes").replaceChildren(...prediction.faces.map((face, i) => face.box && box(face, i, width, height)).filter(Boolean));
  $("faces").replaceChildren(...prediction.faces.map((face, i) => chosenCard(face, i, file)));
  $("caption").textContent = `${width} × ${height} pixels, ${prediction.milliseconds.toFixed(0)} ms`;
  const turn = prediction.faces[0]?.rotation; // one for all faces: it is the picture that was turned
  $("turned").hidden = !turn;
  $("turned").textContent = turn ? `No face was found upright; turned by ${TURNS[turn]}, the picture shows ${plural(prediction.faces.length, "face")}.` : "";
  $("result").hidden = false;
  const names = prediction.faces.map((face, i) => `face ${i + 1}: ${face.emotion}`).join(", ");
  const hint = $("whole").checked ? "" : " If the picture is one face, cut out close, tick the box above.";
  const count = prediction.faces.length;
  say(count ? `${plural(count, "face")} found; ${names}.` : `No face was found.${hint}`);
  $("picture").alt = $("status").textContent;
}

/** The picture as the server draws it, where this browser does not show its format: HEIC, TIFF. */
async function showDrawnThere(file) {
  const drawn = await (await ask("annotate", { method: "POST", body: form(file) })).blob();
  URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(drawn);
  $("picture").src = shown;
  await $("picture").decode();
}

function box(face, index, width, height) {
  const button = element("button", "box");
  button.type = "button";
  button.setAttribute("aria-label", `Face ${index + 1}: ${face.emotion}`);
  button.style.left = `${(100 * face.box.x) / width}%`;
  button.style.top = `${(100 * face.box.y) / height}%`;
  button.style.width = `${(100 * face.box.width) / width}%`;
  button.style.height = `${(100 * face.box.height) / height}%`;
  button.append(element("b", "", String(index + 1)));
  button.addEventListener("click", () => choose(index, true));
  return button;
}

function chosenCard(face, index, file) {
  const item = card(face, index + 1);
  item.addEventListener("pointerenter", () => choose(index, false));
  const button = element("button", "quiet explain", "Why? Show a heat map");
  button.type = "button";
  button.addEventListener("click", () => explain(item, button, index, face.top_emotion));
  item.append(button);
  const wrong = correction(face, index + 1, file, framing());
  if (wrong) item.append(wrong);
  return item;
}

async function explain(item, button, index, emotion) {
  button.disabled = true;
  try {
    const heat = onDevice() ? await explainHere(index + 1) : await explainThere(index + 1);
    const figure = element("figure", "heat");
    const image = element("img");
    image.alt = `Heat map of face ${index + 1}`;
    image.src = URL.createObjectURL(heat);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    const words = `The face as the network sees it. Covering what is red makes “${emotion}” less likely, covering what is blue more likely.`;
    figure.append(image, element("figcaption", "dim", words));
    button.replaceWith(figure);
  } catch (error) {
    button.disabled = false;
    tell(error);
  }
}

function choose(index, scroll) {
  for (const all of [$("boxes"), $("faces")]) [...all.children].forEach((one, i) => one.classList.toggle("chosen", i === index));
  if (scroll) $("faces").children[index].scrollIntoView({ block: "nearest" });
}

function busy(is) {
  document.body.classList.toggle("busy", is);
  $("drop").setAttribute("aria-busy", String(is));
}
