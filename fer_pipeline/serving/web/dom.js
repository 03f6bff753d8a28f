// Small helpers. All text is set as text, never as HTML.

export const $ = (id) => document.getElementById(id);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** A date in the words of the reader's language. */
export const date = (text) => new Date(text).toLocaleDateString(navigator.languages, { dateStyle: "medium" });

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Context of a canvas that is as sharp as the screen, cleared, in CSS pixels. */
export function pen(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

/** Tells a person what happens: words for all, an error in its place. */
export function say(words, error = "") {
  $("status").textContent = words;
  $("error").textContent = error;
  $("error").hidden = !error;
}

/** Scrolls so that an element is at the top of the window. */
export function bringUp(it) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  it.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

/** Gives a blob to the browser's downloads. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
