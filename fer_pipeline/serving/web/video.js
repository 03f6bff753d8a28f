// A video goes to POST /video; its progress comes as events, its results as files.

import { onDevice } from "./device.js";
import { $, bringUp, element, percent, plural, say } from "./dom.js";
import { drawStack, labelAt, legend } from "./plot.js";
import { ask, Problem, upload } from "./server.js";

const MOST_PEOPLE = 12;
const STEP = 0.5; // seconds of an arrow key: about what an expression needs to come
const LEAP = 5;
const FILES = {
  "report.html": "report (page)",
  "annotated.webm": "video with boxes",
  "subtitles.vtt": "subtitles (WebVTT)",
  "faces.csv": "table (CSV)",
  "faces.parquet": "table (Parquet)",
  "faces.jsonl": "each face (JSON lines)",
  "summary.json": "summary (JSON)",
};

let current = null; // {job, end: AbortController, events}
let draw = () => {};
let tell = () => {}; // the values that screen readers speak

export function setUpVideo() {
  $("video-file").addEventListener("change", () => {
    if ($("video-file").files.length) showVideo($("video-file").files[0]);
    $("video-file").value = "";
  });
  $("video-drop").addEventListener("submit", (event) => event.preventDefault());
  $("cancel").addEventListener("click", () => leave("Cancelled; the video was deleted."));
  $("forget").addEventListener("click", () => leave("The video and its results were deleted from the server."));
  $("player").addEventListener("timeupdate", () => {
    draw();
    if ($("player").paused) tell(); // else a focused timeline would be spoken four times a second
  });
  $("player").addEventListener("pause", () => tell());
  addEventListener("resize", () => draw());
  $("video-legend").replaceChildren(legend());
}

export async function showVideo(file) {
  if (onDevice()) return say("", "Videos are analysed on the server only: choose “On the server” to send one.");
  await leave("");
  const mine = { job: null, end: new AbortController(), events: null };
  current = mine;
  $("video-result").hidden = true;
  $("working").hidden = false;
  $("video-drop").classList.add("small");
  bringUp($("status"));
  try {
    report("Sending", 0);
    const started = await upload(`video?temporal=${$("temporal").value}`, file, (share) => report("Sending", share), mine.end.signal);
    mine.job = started.job;
    if (current !== mine) return void remove(mine.job);
    const state = await finished(mine);
    if (current !== mine) return;
    if (state.state !== "done") throw new Problem(state.error ? why(state.error.message) : "The video was deleted.");
    await show(mine, state);
  } catch (error) {
    if (current !== mine || error.name === "AbortError") return;
    if (!(error instanceof Problem)) throw error;
    $("video-drop").classList.remove("small");
    say("", error.message);
  } finally {
    if (current === mine || current === null) $("working").hidden = true;
  }
}

function finished(mine) {
  return new Promise((resolve, reject) => {
    mine.events = new EventSource(`video/${mine.job}/events`);
    mine.events.addEventListener("state", (event) => {
      const state = JSON.parse(event.data);
      if (state.state === "queued") report("Waiting for its turn", null);
      else if (state.state === "running") report(`Analysing: ${plural(state.frames, "frame")}, ${plural(state.faces, "face")}`, state.progress);
      else {
        mine.events.close();
        resolve(state);
      }
    });
    mine.events.addEventListener("error", () => {
      if (mine.events.readyState === EventSource.CLOSED) reject(new Problem("The connection to the server was lost."));
    });
  });
}

function report(words, share) {
  if (share === null) $("progress").removeAttribute("value");
  else $("progress").value = share;
  $("progress-words").textContent = share === null ? `${words} …` : `${words} … ${Math.round(100 * share)} %`;
}

async function leave(words) {
  const mine = current;
  current = null;
  draw = tell = () => {};
  if (!mine) return;
  mine.end.abort();
  mine.events?.close();
  $("player").removeAttribute("src");
  $("player").load();
  $("video-result").hidden = true;
  $("working").hidden = true;
  $("video-drop").classList.remove("small");
  say(words);
  if (mine.job) await remove(mine.job);
}

async function remove(job) {
  try {
    await ask(`video/${job}`, { method: "DELETE" });
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // gone already
  }
}

async function show(mine, state) {
  const at = (name) => `video/${mine.job}/files/${name}`;
  const points = grouped(await (await ask(at("faces.jsonl"))).text());
  if (current !== mine) return;
  $("player").src = at("annotated.webm");
  $("captions").src = at("subtitles.vtt");
  $("joined").textContent = $("temporal").querySelector(`[value=${state.temporal}]`).textContent; // its own: the choice may be another by now
  $("downloads").replaceChildren(...Object.keys(FILES).filter((name) => state.files.includes(name)).map((name) => download(at(name), name)));
  const people = state.summary.people.slice(0, MOST_PEOPLE);
  const duration = Math.max(state.summary.seconds, 0.04);
  const rows = people.map((person) => row(person, points.get(person.track) ?? [], duration));
  $("people").replaceChildren(...rows.map(({ item }) => item));
  draw = () => rows.forEach(({ paint }) => paint($("player").currentTime));
  tell = () => rows.forEach(({ value }) => value($("player").currentTime));
  $("video-result").hidden = false;
  bringUp($("status"));
  draw();
  tell();
  const more = state.summary.people.length - people.length;
  const count = state.summary.people.length;
  const seen = count === 0 ? "Nobody was seen for half a second or more" : count === 1 ? "1 person" : `${count} people`;
  const notes = state.summary.notes.map((note) => ` ${why(note, true)}.`).join("");
  say(`${seen} in ${plural(state.frames, "frame")}${more > 0 ? `; ${more} more are in the files` : ""}.${notes}`);
}

/** The server's words about a video, for its owner: why it failed, or with `partly` what is missing in it. */
function why(words, partly = false) {
  if (!/cut off|damaged|decoded/.test(words)) return words.replace(/^video(?=[: ])/, "This video");
  return `This video is damaged or incomplete${partly ? words.replace(/^video/, "") : ": copy or record it again."}`;
}

function grouped(text) {
  const tracks = new Map();
  for (const line of text.split("\n")) {
    if (!line) continue;
    const { track, time, smoothed, smoothed_emotion: label } = JSON.parse(line);
    if (!tracks.has(track)) tracks.set(track, []);
    tracks.get(track).push({ time, smoothed, label });
  }
  return tracks;
}

function row(person, points, duration) {
  const item = element("li", "person");
  const total = Object.values(person.seconds).reduce((sum, seconds) => sum + seconds, 0);
  const shares = Object.entries(person.seconds).sort((one, other) => other[1] - one[1]);
  const words = shares.map(([name, seconds]) => `${name} ${percent(seconds / total)}`).join(", ");
  const canvas = element("canvas", "stack");
  canvas.tabIndex = 0;
  const facts = { role: "slider", "aria-label": `Person ${person.track} over time: ${words}`, "aria-valuemin": 0, "aria-valuemax": duration };
  Object.entries(facts).forEach(([name, fact]) => canvas.setAttribute(name, fact));
  canvas.addEventListener("click", (event) => seek((event.offsetX / canvas.clientWidth) * duration));
  canvas.addEventListener("focus", () => tell());
  canvas.addEventListener("keydown", (event) => {
    const now = $("player").currentTime;
    const steps = { ArrowRight: STEP, ArrowUp: STEP, ArrowLeft: -STEP, ArrowDown: -STEP, PageUp: LEAP, PageDown: -LEAP };
    const time = { Home: 0, End: duration }[event.key] ?? now + steps[event.key];
    if (Number.isNaN(time) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault(); // or the page scrolls
    seek(Math.min(Math.max(time, 0), duration));
  });
  const value = (now) => {
    canvas.setAttribute("aria-valuenow", now.toFixed(1));
    canvas.setAttribute("aria-valuetext", `${spoken(now)}, ${labelAt(points, now) ?? "out of sight"}`);
  };
  const head = element("div", "person-head");
  head.append(element("h3", "", `Person ${person.track}`), element("span", "dim", words));
  item.append(head, canvas);
  return { item, paint: (now) => drawStack(canvas, points, duration, now), value };
}

function seek(time) {
  $("player").currentTime = time;
  draw();
  tell(); // now, and not only once the picture has come
}

function spoken(time) {
  const minutes = Math.floor(time / 60);
  const seconds = `${(time - 60 * minutes).toFixed(1)} seconds`;
  return minutes ? `${plural(minutes, "minute")} ${seconds}` : seconds;
}

function download(address, name) {
  const item = element("li");
  const link = element("a", "", FILES[name]);
  link.href = address;
  if (name === "report.html") link.target = "_blank";
  else link.download = name;
  item.append(link);
  return item;
}
