// The page: a picture goes to POST /predict, its faces come back as boxes and bars. All text is set as text, never as HTML.

const REASONS = {
  low_confidence: "No expression is likely enough to name.",
  small: "The face is small.",
  blurry: "The face is blurred.",
  dark: "The face is very dark.",
  bright: "The face is very bright.",
  cut_off: "Part of the face lies outside the picture.",
};

const HEADLINES = { accuracy: "accuracy", accuracy_dedup: "accuracy without copies of training faces", macro_f1: "macro F1" };

const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

let asked = 0; // only the answer to the latest question is shown
let shown = null; // object URL of the picture on the page
let current = null; // the file on the page

$("file").addEventListener("change", () => {
  if ($("file").files.length) ask($("file").files[0]);
  $("file").value = "";
});
$("whole").addEventListener("change", () => current && ask(current));
$("drop").addEventListener("submit", (event) => event.preventDefault());

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer);
});
addEventListener("paste", (event) => take(event.clipboardData));

showModel();

function take(transfer) {
  const file = [...transfer.files].find((one) => one.type.startsWith("image/"));
  if (file) ask(file);
  else if (transfer.files.length) fail("That file is no picture.");
}

async function ask(file) {
  const turn = ++asked;
  current = file;
  busy(true);
  $("error").hidden = true;
  $("result").hidden = true;
  $("status").textContent = "Looking for faces …";
  const form = new FormData();
  form.append("picture", file, "picture");
  try {
    const answer = await fetch(`predict?framing=${$("whole").checked ? "face" : "auto"}`, { method: "POST", body: form });
    const body = await answer.json().catch(() => ({}));
    if (turn !== asked) return;
    if (answer.ok) await show(file, body);
    else fail(answer.status === 429 ? "The server is busy. Please try again in a moment." : body.error?.message ?? `The server answered ${answer.status}.`);
  } catch {
    if (turn === asked) fail("The server cannot be reached.");
  } finally {
    if (turn === asked) busy(false);
  }
}

async function show(file, prediction) {
  if (shown) URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(file);
  $("picture").src = shown;
  await $("picture").decode().catch(() => {});
  const { width, height } = prediction.picture;
  $("frame").classList.toggle("small", Math.max(width, height) < 200);
  $("boxes").replaceChildren(...prediction.faces.map((face, i) => face.box && box(face, i, width, height)).filter(Boolean));
  $("faces").replaceChildren(...prediction.faces.map(card));
  $("caption").textContent = `${width} × ${height} pixels, ${prediction.milliseconds.toFixed(0)} ms`;
  $("result").hidden = false;
  const names = prediction.faces.map((face, i) => `face ${i + 1}: ${face.emotion}`).join(", ");
  const hint = $("whole").checked ? "" : " If the picture is one face, cut out close, tick the box above.";
  $("status").textContent = prediction.faces.length ? `${plural(prediction.faces.length, "face")} found; ${names}.` : `No face was found.${hint}`;
  $("picture").alt = $("status").textContent;
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

function card(face, index) {
  const item = element("li", "face");
  const head = element("header");
  const title = element("h3", "", face.emotion === "uncertain" ? "uncertain" : face.emotion);
  const detail = face.emotion === "uncertain" ? `perhaps ${face.top_emotion}` : percent(face.confidence);
  head.append(element("b", "number", String(index + 1)), title, element("span", "", detail));
  item.append(head, bars(face));
  if (face.reasons.length) {
    const list = element("ul", "reasons");
    list.append(...face.reasons.map((reason) => element("li", "", REASONS[reason] ?? reason)));
    item.append(list);
  }
  item.addEventListener("pointerenter", () => choose(index, false));
  return item;
}

function bars(face) {
  const table = element("table", "bars");
  table.setAttribute("aria-label", "Probability of each expression");
  for (const [name, share] of Object.entries(face.probabilities)) {
    const row = table.insertRow();
    if (name === face.top_emotion) row.className = "top";
    const label = element("th", "", name);
    label.scope = "row";
    const bar = element("div", "bar");
    bar.style.width = `${100 * share}%`;
    row.append(label);
    row.insertCell().append(bar);
    row.insertCell().textContent = percent(share);
  }
  return table;
}

function choose(index, scroll) {
  for (const all of [$("boxes"), $("faces")]) [...all.children].forEach((one, i) => one.classList.toggle("chosen", i === index));
  if (scroll) $("faces").children[index].scrollIntoView({ block: "nearest" });
}

async function showModel() {
  const model = await (await fetch("model")).json();
  $("synthetic").hidden = !model.synthetic;
  $("synthetic").textContent = "This model was trained on generated faces: it is for trying the pipeline, not for real pictures.";
  const measured = Object.keys(HEADLINES).filter((name) => name in model.metrics).map((name) => `${HEADLINES[name]} ${interval(model.metrics, name)}`);
  const facts = {
    Network: model.network,
    "Trained on": model.data,
    "On its test faces": measured.join("; ") || "not measured",
    "Face detector": model.detector,
    "Uncertain below": percent(model.uncertain_below),
    "Image spec": model.image_spec.fingerprint,
    "SHA-256": model.sha256,
    ...model.lineage,
  };
  $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [element("dt", "", name.replaceAll("_", " ")), element("dd", "", String(value))]));
}

function interval(metrics, name) {
  const [low, high] = [metrics[`${name}_low`], metrics[`${name}_high`]];
  return percent(metrics[name]) + (low === undefined ? "" : ` (${percent(low)} to ${percent(high)})`);
}

function fail(message) {
  $("status").textContent = "";
  $("result").hidden = true;
  $("error").textContent = message;
  $("error").hidden = false;
}

function busy(is) {
  document.body.classList.toggle("busy", is);
  $("drop").setAttribute("aria-busy", String(is));
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
