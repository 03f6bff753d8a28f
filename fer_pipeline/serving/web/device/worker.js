// The worker that looks at pictures. The service sends it with a policy of its own, under which it may run WebAssembly and reach
// no server: what it needs comes with the first message, and what it sees cannot leave it but as an answer to the page.

import * as ort from "../vendor/onnxruntime-web/ort.wasm.bundle.min.mjs";
import { faceValues, SCHEMA_VERSION } from "./answers.js";
import { Fault, worded } from "./faults.js";
import { centerFaceDetector } from "./centerface.js";
import { haarDetector } from "./haar.js";
import { heatPicture } from "./heat.js";
import { pixelsOfBitmap, pixelsOfFile } from "./decoding.js";
import { Recognizer, Stream } from "./recognizer.js";
import { yunetDetector } from "./yunet.js";

const BATCH = 128; // bounds the memory of one run
const since = (start) => Number((performance.now() - start).toFixed(2));

let recognizer = null;
let stream = null;

const work = {
  async open({ facts, runtime, network, detector }) {
    ort.env.wasm.numThreads = 1; // more need a page that is cut off from all other origins
    ort.env.wasm.wasmBinary = runtime;
    ort.env.logLevel = "error";
    const session = await opened(network, `The network ${facts.model.network}`);
    ort.env.wasm.wasmBinary = undefined;
    recognizer = new Recognizer(facts, await detectorOf(facts.detector, detector), (inputs) => logits(session, inputs));
    await recognizer.recognizeFace({ width: 48, height: 48, channels: 1, data: new Uint8ClampedArray(2304) }); // the first run is slow
  },

  async picture({ file, framing }) {
    const start = performance.now();
    const { image, faces } = await recognized(file, framing);
    const size = { width: image.width, height: image.height };
    const values = faces.map((face) => faceValues(face, size));
    return { schema_version: SCHEMA_VERSION, faces: values, picture: size, model: recognizer.facts.model, milliseconds: since(start) };
  },

  async explain({ file, framing, number }) {
    await recognized(file, framing);
    return heatPicture(await recognizer.explained(number));
  },

  async watch({ temporal }) {
    stream = new Stream(recognizer, temporal);
  },

  async neutral({ action }) {
    if (action === "collect") stream.own.collect();
    else stream.own.clear();
  },

  async frame({ bitmap, time }) {
    const start = performance.now();
    const image = pixelsOfBitmap(bitmap);
    const faces = await stream.update(image, time);
    const size = { width: image.width, height: image.height };
    const values = faces.map((face) => faceValues(face, size));
    return { type: "faces", time, ...size, faces: values, neutral: stream.own.state, milliseconds: since(start) };
  },
};

addEventListener("message", async ({ data: { id, task, ...rest } }) => {
  try {
    postMessage({ id, answer: await work[task](rest) });
  } catch (error) {
    postMessage({ id, fault: worded(error) });
  }
});

async function recognized(file, framing) {
  const image = await pixelsOfFile(file, recognizer.facts.max_pixels);
  return { image, faces: framing === "face" ? await recognizer.recognizeFace(image) : await recognizer.recognize(image) };
}

async function opened(network, name) {
  try {
    return await ort.InferenceSession.create(new Uint8Array(network), { executionProviders: ["wasm"], logSeverityLevel: 3 });
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new Fault(`${name} cannot run on this device: ${error.message}.`);
  }
}

async function detectorOf(facts, content) {
  if (facts.name === "haar") return haarDetector(JSON.parse(new TextDecoder().decode(content)), facts);
  const kinds = { centerface: centerFaceDetector, yunet: yunetDetector };
  const kind = kinds[facts.name];
  if (!kind) throw new Fault(`The face detector ${facts.name} is not on this device.`);
  const session = await opened(content, `The face detector ${facts.name}`);
  return kind((values, dims) => session.run({ [session.inputNames[0]]: new ort.Tensor("float32", values, dims) }), facts);
}

async function logits(session, inputs) {
  const parts = [];
  for (let start = 0; start < inputs.length; start += BATCH) {
    const some = inputs.slice(start, start + BATCH);
    const values = new Uint8Array(some.length * 2304);
    some.forEach((input, i) => values.set(input.data, i * 2304));
    const outputs = await session.run({ image: new ort.Tensor("uint8", values, [some.length, 48, 48, 1]) });
    parts.push(...outputs.logits.data);
  }
  return parts;
}
