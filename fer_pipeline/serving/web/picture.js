// Pictures go to POST /predict one after the other, or stay on this device; each answer is shown as soon as it is there.

import { onDevice, predictHere } from "./device.js";
import { $, bringUp, element, plural, say } from "./dom.js";
import { saveAll, savePicture } from "./downloads.js";
import { drawn, facesOf, pictureForm, showResult, wordsOf } from "./result.js";
import { ask, Problem } from "./server.js";

const MOST = 50; // pictures at once: each is kept in the memory of the browser

let batch = 0; // only the answers to the latest choice are shown
let items = []; // {file, address, prediction, error} in the order in which they were chosen
let shown = null;

export function setUpPicture() {
  $("file").addEventListener("change", () => {
    const files = [...$("file").files]; // a copy: the list empties with the field
    $("file").value = "";
    showPictures(files);
  });
  for (const button of $("examples").children) button.addEventListener("click", () => guarded(() => showExample(button.value)));
  $("whole").addEventListener("change", () => showPictures(items.map(({ file }) => file)));
  $("drop").addEventListener("submit", (event) => event.preventDefault());
  $("save-json").addEventListener("click", () => saveAll("json", items));
  $("save-csv").addEventListener("click", () => saveAll("csv", items));
  $("save-picture").addEventListener("click", () => guarded(() => savePicture(shown)));
}

/** Analyses picture files, and shows the first answer. */
export async function showPictures(files) {
  if (!files.length) return;
  const mine = begin(files.slice(0, MOST));
  const framing = $("whole").checked ? "face" : "auto";
  for (const [i, item] of items.entries()) {
    say(items.length > 1 ? `Analysing picture ${i + 1} of ${items.length} …` : "Looking for faces …");
    const failed = await guarded(async () => (item.prediction = await predicted(item.file, framing)), true);
    if (mine !== batch) return;
    item.error = failed ?? null;
    item.framing = framing;
    if (items.length > 1) listPictures();
    if (!shown && item.prediction) await show(item);
    if (mine !== batch) return;
  }
  end(files.length);
}

async function showExample(address) {
  const picture = await (await ask(address)).blob();
  await showPictures([new File([picture], address.split("/").pop(), { type: picture.type })]);
}

/** Leaves no picture on the page. */
export function forgetPicture() {
  begin([]);
  end(0);
}

function begin(files) {
  items.forEach(({ address }) => URL.revokeObjectURL(address));
  items = files.map((file) => ({ file, address: URL.createObjectURL(file), prediction: null, error: null }));
  shown = null;
  $("result").hidden = true;
  $("pictures").replaceChildren();
  $("picture").removeAttribute("src");
  $("drop").classList.toggle("small", files.length > 0);
  $("drop").setAttribute("aria-busy", String(files.length > 0));
  return ++batch;
}

function end(chosen) {
  $("drop").setAttribute("aria-busy", "false");
  $("drop").classList.toggle("small", shown !== null);
  const failed = items.filter(({ error }) => error);
  const faults = items.length === 1 ? failed.map(({ error }) => error.message) : failed.map(({ file, error }) => `${file.name}: ${error.message}`);
  if (chosen > items.length && items.length) faults.push(`${chosen} pictures were chosen; the first ${MOST} were analysed.`);
  say(items.length > 1 ? summary(failed.length) : shown ? wordsOf(shown) : "", faults.join(" "));
}

function summary(failed) {
  const faces = answered().reduce((sum, { prediction }) => sum + prediction.faces.length, 0);
  return `${plural(items.length, "picture")}, ${plural(faces, "face")}.${failed ? ` ${failed} could not be read.` : ""}`;
}

const answered = () => items.filter(({ prediction }) => prediction);

async function predicted(file, framing) {
  if (onDevice()) return predictHere(file, framing);
  return (await ask(`predict?framing=${framing}`, { method: "POST", body: pictureForm(file) })).json();
}

async function show(item) {
  const first = shown === null;
  shown = item;
  $("picture").src = item.address;
  const visible = await $("picture").decode().then(() => true, () => false);
  if (shown !== item) return;
  if (!visible && !onDevice()) {
    const address = await guarded(() => drawn(item.file)); // this browser does not show its format: HEIC, TIFF
    if (shown !== item || !address) return;
    URL.revokeObjectURL(item.address);
    $("picture").src = item.address = address;
    await $("picture").decode();
  }
  showResult(item);
  listPictures();
  if (first) bringUp($("status"));
}

/** The pictures as small ones to choose from, where there are several. */
function listPictures() {
  if (items.length < 2) return;
  $("pictures").replaceChildren(
    ...items.map((item) => {
      const entry = element("li");
      const button = element("button");
      button.type = "button";
      button.disabled = !item.prediction;
      button.setAttribute("aria-pressed", String(item === shown));
      const image = element("img");
      [image.alt, image.src, image.loading] = ["", item.address, "lazy"];
      const count = item.prediction ? plural(facesOf(item).length, "face") : item.error ? "cannot be read" : "…";
      const words = element("span", "", item.file.name);
      words.append(element("small", "dim", count));
      button.append(image, words);
      button.addEventListener("click", () => guarded(() => show(item)));
      entry.append(button);
      return entry;
    }),
  );
}

/** The result of some work; a Problem is shown, or with `quiet` it is the result, which is otherwise undefined. */
async function guarded(work, quiet = false) {
  try {
    const result = await work();
    return quiet ? undefined : result;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (quiet) return error;
    say($("status").textContent, error.message);
  }
}
