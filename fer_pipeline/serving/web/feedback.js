// "Is this wrong?" under a face: the right label, and, only with consent, the face itself go to POST /feedback.

import { $, date, element } from "./dom.js";
import { EMOTIONS } from "./emotions.js";
import { ask, Problem } from "./server.js";

/** What a person may do about the answer for one face; null where the operator takes no corrections. */
export function correction(face, number, file, framing) {
  if (!face.feedback) return null;
  const details = element("details", "correct");
  const form = element("form");
  const send = element("button", "button quiet", "Send the correction");
  send.disabled = true;
  const note = element("p", "correct-error error");
  note.setAttribute("role", "alert");
  form.append(choices(face, number, () => (send.disabled = false)), consent(number), send, note);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    note.textContent = "";
    try {
      const answer = await ask(`feedback?framing=${framing}`, { method: "POST", body: filled(form, face, file) });
      thank(details, await answer.json());
    } catch (error) {
      send.disabled = false;
      if (!(error instanceof Problem)) throw error;
      note.textContent = error.message;
    }
  });
  details.append(element("summary", "", "Is this wrong?"), form);
  return details;
}

function choices(face, number, onChoice) {
  const set = element("fieldset");
  set.append(element("legend", "", `Face ${number} shows`));
  for (const emotion of EMOTIONS) {
    if (emotion === face.emotion) continue; // to say what was answered is no correction
    set.append(labelled("radio", "correction", emotion, emotion, onChoice));
  }
  return set;
}

function consent(number) {
  const days = $("corrections").dataset.days;
  const box = labelled("checkbox", "consent", "true", `The server may keep face ${number} to learn from it`);
  box.className = "check";
  const words = element(
    "p",
    "dim",
    `Only with this tick the face is kept: cut out, gray, 48 × 48 pixels, nothing around it. The person shown must agree, too. Somebody
    reviews it within ${days} days, or it is deleted; once accepted, models are trained with it. You get a receipt with which you can have it
    deleted at any time. Without the tick only the two labels, the model and the time are kept.`,
  );
  words.id = `consent-words-${number}`;
  box.querySelector("input").setAttribute("aria-describedby", words.id);
  const both = element("div");
  both.append(box, words);
  return both;
}

function labelled(type, name, value, words, onChange = () => {}) {
  const label = element("label", "choice");
  const input = element("input");
  Object.assign(input, { type, name, value });
  input.addEventListener("change", onChange);
  label.append(input, ` ${words}`);
  return label;
}

function filled(form, face, file) {
  const made = new FormData();
  made.append("token", face.feedback);
  made.append("correction", form.elements.correction.value);
  if (form.elements.consent.checked) {
    made.append("consent", "true");
    made.append("picture", file, "picture");
  }
  return made;
}

function thank(details, stored) {
  const box = element("div", "corrected");
  const words = element("p");
  words.tabIndex = -1;
  words.setAttribute("role", "status");
  const kept = stored.picture ? "The face and the labels are kept" : "The labels are kept, no picture";
  const until = date(stored.expires);
  words.append(`Thank you: ${stored.corrected}. ${kept} until ${until}${stored.picture ? ", or longer once accepted" : ""}. Your receipt: `);
  words.append(element("code", "", stored.id));
  const undo = element("button", "quiet explain", "Delete it again");
  undo.type = "button";
  undo.addEventListener("click", () => takeBack(undo, words, stored.id));
  box.append(words, undo);
  details.replaceWith(box);
  words.focus(); // the button that had the focus is gone
}

async function takeBack(undo, words, receipt) {
  undo.disabled = true;
  try {
    const { state } = await (await ask(`feedback/${receipt}`, { method: "DELETE" })).json();
    words.textContent = state === "deleted" ? "Deleted." : "It was accepted already: the operator takes it out of the training data.";
    undo.remove();
    words.focus();
  } catch (error) {
    undo.disabled = false;
    if (!(error instanceof Problem)) throw error;
    words.append(` ${error.message}`);
  }
}
