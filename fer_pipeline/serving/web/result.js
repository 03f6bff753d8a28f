// The answer for one picture: boxes on it, and a card for each face, numbered from left to right.

import { explainHere, onDevice } from "./device.js";
import { $, element, plural, say } from "./dom.js";
import { card } from "./faces.js";
import { correction } from "./feedback.js";
import { ask, Problem } from "./server.js";

const MANY = 3; // faces; with more of them the cards are closed
const ROOM = 0.1; // of the picture's height, which the badge of a box needs above or below it
const TURNS = { 90: "90° against the clock", 180: "180°", 270: "90° with the clock" };

/** The faces of a picture from left to right; `place` is the number by which /explain knows one, from the largest. */
export function facesOf({ prediction }) {
  const middle = ({ box }) => (box ? box.x + box.width / 2 : 0);
  const placed = prediction.faces.map((face, i) => ({ ...face, place: i + 1 }));
  return placed.sort((one, other) => middle(one) - middle(other)).map((face, i) => ({ ...face, page_number: i + 1 }));
}

export function showResult(item) {
  const { width, height } = item.prediction.picture;
  const faces = facesOf(item);
  const many = faces.length > MANY;
  $("result-title").textContent = item.file.name;
  $("frame").classList.toggle("tiny", Math.max(width, height) < 200);
  $("boxes").replaceChildren(...faces.map((face, i) => (face.box ? box(face, i, width, height, many) : "")));
  $("faces").classList.toggle("many", many);
  $("faces").replaceChildren(...faces.map((face, i) => faceCard(face, i, item, many)));
  $("caption").textContent = `${width} × ${height} pixels, ${item.prediction.milliseconds.toFixed(0)} ms`;
  const turn = faces[0]?.rotation; // one for all faces: it is the picture that was turned
  $("turned").hidden = !turn;
  $("turned").textContent = turn ? `No face was found upright; turned by ${TURNS[turn]}, the picture shows ${plural(faces.length, "face")}.` : "";
  $("picture").alt = wordsOf(item);
  $("result").hidden = false;
}

/** What a picture shows, in a sentence. */
export function wordsOf(item) {
  const faces = facesOf(item);
  const hint = $("whole").checked ? "" : " If the picture is one face, cropped closely, tick “This is already a cropped face”.";
  if (!faces.length) return `No face was found.${hint}`;
  if (faces.length <= MANY) return `${plural(faces.length, "face")} found; ${faces.map((face, i) => `face ${i + 1}: ${face.emotion}`).join(", ")}.`;
  const counts = new Map();
  for (const { emotion } of faces) counts.set(emotion, (counts.get(emotion) ?? 0) + 1);
  const words = [...counts].sort((one, other) => other[1] - one[1]).map(([emotion, count]) => `${count} ${emotion}`);
  return `${plural(faces.length, "face")} found: ${words.join(", ")}.`;
}

/** Object URL of the picture as the server draws it. */
export async function drawn(file) {
  return URL.createObjectURL(await (await ask("annotate", { method: "POST", body: pictureForm(file) })).blob());
}

export function pictureForm(file) {
  const made = new FormData();
  made.append("picture", file, "picture");
  return made;
}

function box(face, index, width, height, many) {
  const button = element("button", "box");
  button.type = "button";
  button.setAttribute("aria-label", `Face ${index + 1}: ${face.emotion}`);
  button.style.left = `${(100 * face.box.x) / width}%`;
  button.style.top = `${(100 * face.box.y) / height}%`;
  button.style.width = `${(100 * face.box.width) / width}%`;
  button.style.height = `${(100 * face.box.height) / height}%`;
  const badge = element("b", "", String(index + 1));
  if (!many) badge.append(element("span", "", ` ${face.emotion}`));
  if (face.box.y / height < ROOM) badge.classList.add((face.box.y + face.box.height) / height > 1 - ROOM ? "inside" : "below");
  if (face.box.x + face.box.width / 2 > width / 2) badge.classList.add("right"); // so that its words end in the picture
  button.append(badge);
  button.addEventListener("click", () => choose(index, true));
  return button;
}

function faceCard(face, index, item, many) {
  const entry = card(face, index + 1, !many);
  entry.addEventListener("pointerenter", () => choose(index, false));
  const body = entry.querySelector(".face-body");
  const button = element("button", "quiet explain", "Why? Show a heat map");
  button.type = "button";
  button.addEventListener("click", () => explain(item, button, face, index));
  body.append(button);
  const wrong = correction(face, index + 1, item.file, item.framing);
  if (wrong) body.append(wrong);
  return entry;
}

function choose(index, scroll) {
  for (const all of [$("boxes"), $("faces")]) [...all.children].forEach((one, i) => one.classList.toggle("chosen", i === index));
  if (!scroll) return;
  const entry = $("faces").children[index];
  entry.querySelector("details").open = true;
  entry.scrollIntoView({ block: "nearest" });
}

async function explain(item, button, face, index) {
  button.disabled = true;
  try {
    const heat = onDevice() ? await explainHere(item.file, item.framing, face.place) : await explainThere(item, face.place);
    button.replaceWith(heatFigure(heat, face.top_emotion, index + 1));
  } catch (error) {
    button.disabled = false;
    if (!(error instanceof Problem)) throw error;
    say($("status").textContent, error.message);
  }
}

async function explainThere({ file, framing }, place) {
  return (await ask(`explain?framing=${framing}&face=${place}`, { method: "POST", body: pictureForm(file) })).blob();
}

function heatFigure(heat, emotion, number) {
  const figure = element("figure", "heat");
  const image = element("img");
  image.alt = `Heat map of face ${number}`;
  image.src = URL.createObjectURL(heat);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  const caption = element("figcaption");
  const legend = element("div", "heat-legend");
  legend.append(element("span", "", `against ${emotion}`), element("i"), element("span", "", `for ${emotion}`));
  const words = `The face as the network sees it. Covering a red area makes “${emotion}” less likely, covering a blue area makes it more likely.`;
  caption.append(legend, element("p", "dim", words));
  figure.append(image, caption);
  return figure;
}
