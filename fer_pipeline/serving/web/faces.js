// One face as a card: its name, its bars, what makes it doubtful.

import { element, percent } from "./dom.js";

const REASONS = {
  low_confidence: "No expression is clear enough to name.",
  small: "The face is small.",
  blurry: "The face is blurred.",
  dark: "The face is very dark.",
  bright: "The face is very bright.",
  cut_off: "Part of the face lies outside the picture.",
};

/** A list item with a line for the face, and the rest in `.face-body`, which shows when `open` or on a click. */
export function card(face, number, open) {
  const item = element("li", "face");
  const details = element("details");
  details.open = open;
  const head = element("summary");
  const detail = face.emotion === "uncertain" ? `perhaps ${face.top_emotion}` : percent(face.confidence);
  head.append(element("b", "number", String(number)), element("h3", "", face.emotion), element("span", "", detail));
  const body = element("div", "face-body");
  body.append(bars(face.probabilities));
  if (face.reasons.length) {
    const list = element("ul", "reasons");
    list.append(...face.reasons.map((reason) => element("li", "", REASONS[reason] ?? reason)));
    body.append(list);
  }
  details.append(head, body);
  item.append(details);
  return item;
}

export function bars(probabilities) {
  const table = element("table", "bars");
  table.setAttribute("aria-label", "Probability of each expression");
  const top = Math.max(...Object.values(probabilities));
  for (const [name, share] of Object.entries(probabilities)) {
    const row = table.insertRow();
    if (share === top) row.className = "top";
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
