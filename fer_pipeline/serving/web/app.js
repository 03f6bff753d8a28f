// The page: three ways in, and files that are dropped or pasted find theirs.

import { setUpCamera, stopCamera } from "./camera.js";
import { setUpDevice } from "./device.js";
import { $, say } from "./dom.js";
import { showModel } from "./model.js";
import { forgetPicture, setUpPicture, showPictures } from "./picture.js";
import { setUpVideo, showVideo } from "./video.js";

const TABS = ["picture", "video", "camera"];

for (const name of TABS) {
  $(`tab-${name}`).addEventListener("click", () => choose(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) choose(TABS[(TABS.indexOf(name) + step + TABS.length) % TABS.length], true);
  });
}

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

setUpPicture();
setUpVideo();
setUpCamera();
setUpDevice(() => {
  say("");
  forgetPicture(); // what was chosen for the one place does not go to the other unasked
  stopCamera("The camera is off.");
});
showModel();

function choose(name, focus = false) {
  if (name !== "camera") stopCamera();
  say("");
  for (const one of TABS) {
    $(`panel-${one}`).hidden = one !== name;
    $(`tab-${one}`).setAttribute("aria-selected", String(one === name));
    $(`tab-${one}`).tabIndex = one === name ? 0 : -1;
  }
  if (focus) $(`tab-${name}`).focus();
}

function take(transfer) {
  const pictures = [...transfer.files].filter(({ type, name }) => type.startsWith("image/") || /\.(heic|heif|avif|tiff?)$/i.test(name));
  if (pictures.length) return choose("picture"), showPictures(pictures);
  for (const file of transfer.files) {
    if (file.type.startsWith("video/") || /\.(mkv|avi|mov)$/i.test(file.name)) return choose("video"), showVideo(file);
  }
  if (transfer.files.length) say("", "That file is neither a picture nor a video.");
}
