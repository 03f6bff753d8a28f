// The facts of the model.

import { $, date, element, percent } from "./dom.js";
import { ask } from "./server.js";

const HEADLINES = { accuracy: "accuracy", accuracy_dedup: "accuracy without copies of training faces", macro_f1: "macro F1" };

const TEMPORAL_MODES = { smooth: "moving average", hmm: "hidden Markov model", none: "none" };

const DATE = /^\d{4}-\d\d-\d\d[T ]/;

export async function showModel() {
  const model = await (await ask("model")).json();
  $("card").hidden = !model.has_card;
  $("logged").hidden = !model.logs_predictions;
  $("corrections").hidden = model.feedback_days === null;
  $("corrections").dataset.days = model.feedback_days;
  $("synthetic").hidden = !model.synthetic;
  $("synthetic").textContent = "This model was trained on generated faces: it is for trying the pipeline, not for real pictures.";
  $("camera-temporal").value = model.camera_temporal;
  const measured = Object.keys(HEADLINES).filter((name) => name in model.metrics);
  const facts = {
    Network: model.network,
    "Trained on": model.data,
    "On its test faces": measured.map((name) => `${HEADLINES[name]} ${interval(model.metrics, name)}`).join("; ") || "not measured",
    "Face detector": model.detector,
    "Uncertain below": percent(model.uncertain_below),
    "Camera smoothing": TEMPORAL_MODES[model.camera_temporal],
    "Image spec": model.image_spec.fingerprint,
    Fingerprint: model.fingerprint,
    "SHA-256": model.sha256,
    ...model.lineage,
  };
  const pair = ([name, value]) => [element("dt", "", name.replaceAll("_", " ")), element("dd", "", DATE.test(value) ? date(value) : String(value))];
  $("facts").replaceChildren(...Object.entries(facts).flatMap(pair));
}

function interval(metrics, name) {
  const [low, high] = [metrics[`${name}_low`], metrics[`${name}_high`]];
  return percent(metrics[name]) + (low === undefined ? "" : ` (${percent(low)} to ${percent(high)})`);
}
