// The own neutral face of the person before the camera: a button takes it in two seconds, another one forgets it.

import { $ } from "./dom.js";

let state = null; // "collecting", "set" or null, as the last answer says
let asked = false; // by a person, and not answered by a frame yet

/** `ask` takes "collect" or "clear". */
export function setUpNeutral(ask) {
  for (const [button, action] of [["neutral", "collect"], ["neutral-clear", "clear"]]) {
    $(button).addEventListener("click", () => {
      asked = action === "clear";
      ask(action);
    });
  }
}

/** Says what the answer on a frame says of the neutral face. */
export function showNeutral(next, faces) {
  const [before, person] = [state, faces.find((face) => face.neutral_reference)?.track];
  state = next;
  $("neutral").disabled = state === "collecting";
  $("neutral-clear").hidden = !state;
  if (state === "collecting") tell("Keep your face at rest …");
  else if (state === "set") tell(person ? `Person ${person} is compared with the neutral face.` : "The person of the neutral face is not in view.");
  else if (before === "collecting" && !asked) tell("No face was in view for two seconds: try again.");
  else if (before) tell("The neutral face was forgotten.");
  if (!state) asked = false;
}

function tell(words) {
  if ($("neutral-words").textContent !== words) $("neutral-words").textContent = words;
}
