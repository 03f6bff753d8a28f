// Facial expressions in any page, recognized in the browser: nothing of a picture is sent. docs/service.md says how to use it.

import { Fault } from "./faults.js";

export { Fault };

const FILES = ["runtime", "network", "detector"];
const TRIES = 3; // to get metadata and network of the same model while another one takes over

/** A model that is loaded and runs in a worker of the page. */
export class FaceRecognizer {
  #worker;
  #asked = 0;
  #waiting = new Map(); // what the worker was asked for -> {resolve, reject}

  /**
   * Loads the model of a service, or of a folder that has the same files under model/.
   *
   * `service`: its address; left out, the one that this module came from. `token`: where the service has one. `onProgress` is
   * called with {phase: "loading" or "starting", share: 0..1, bytes: that travel}. `get`: a function from a path such as
   * "model/network" to a promise of a Response, in place of `service` and `token`. Throws a Fault, whose message is for people:
   * where the browser cannot do it, the service does not answer, or it gives no model away.
   */
  static async open({ service = new URL("../../", import.meta.url), token = null, onProgress = () => {}, get = fetcher(service, token) } = {}) {
    if (typeof WebAssembly === "undefined") throw new Fault("This browser has no WebAssembly, or it is switched off.");
    if (typeof OffscreenCanvas === "undefined") throw new Fault("This browser is too old to analyse pictures itself.");
    const opened = new FaceRecognizer();
    try {
      const { facts, files } = await fetched(get, onProgress);
      onProgress({ phase: "starting", share: 1, bytes: 0 });
      opened.#worker = opened.#started();
      await opened.#request("open", { facts, ...files }, Object.values(files));
      opened.model = facts.model;
      return opened;
    } catch (error) {
      opened.close();
      throw error instanceof RangeError ? new Fault("This device has not enough memory for the model.") : error;
    }
  }

  /** The name, network and fingerprint of the model, as in each answer. */
  model = null;

  /** Whether the worker still runs; it ends on `close` and where the browser stops it. */
  get closed() {
    return !this.#worker;
  }

  /**
   * The faces of a picture, largest first: the object that POST /predict answers. `picture` is a Blob, such as a File of an input
   * element; `framing` is "auto", or "face" for a picture that is one cropped face.
   */
  recognize(picture, { framing = "auto" } = {}) {
    return this.#request("picture", { file: picture, framing });
  }

  /** A heat map (a PNG as a Blob) of a face of a picture by its number from 1: red speaks for its top_emotion, blue against it. */
  explain(picture, number = 1, { framing = "auto" } = {}) {
    return this.#request("explain", { file: picture, framing, number });
  }

  /**
   * One camera: `await look(frame, seconds)` takes an ImageBitmap, which it uses up, and its time, and answers as the WebSocket
   * /live does; `neutral("collect")` takes the largest face of the next seconds as that person's neutral face, and
   * `neutral("clear")` forgets it. `temporal`: "smooth", "hmm" or "none"; left out, what the service has set. A new camera ends
   * the one before.
   */
  async camera({ temporal } = {}) {
    await this.#request("watch", { temporal });
    return {
      look: (frame, seconds) => this.#request("frame", { bitmap: frame, time: seconds }, [frame]),
      neutral: (action) => this.#request("neutral", { action }),
    };
  }

  /** Ends the worker and frees its memory; what is still asked for fails. */
  close(why = "The recognizer is closed.") {
    this.#worker?.terminate();
    this.#worker = null;
    for (const { reject } of this.#waiting.values()) reject(new Fault(why));
    this.#waiting.clear();
  }

  #started() {
    const worker = newWorker(new URL("worker.js", import.meta.url));
    worker.addEventListener("message", ({ data: { id, answer, fault } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (fault) reject(new Fault(fault));
      else resolve(answer);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.close(`The model could not be run in this browser (${event.message || "no reason given"}).`);
    });
    return worker;
  }

  #request(task, message = {}, transferred = []) {
    if (!this.#worker) return Promise.reject(new Fault("The recognizer is closed: open another one."));
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, ...message }, transferred);
    });
  }
}

/** A browser starts no worker from another origin, but one of the page's own that imports it. */
function newWorker(address) {
  if (address.origin === location.origin) return new Worker(address, { type: "module" });
  const source = URL.createObjectURL(new Blob([`import ${JSON.stringify(address.href)};`], { type: "text/javascript" }));
  return new Worker(source, { type: "module" });
}

function fetcher(service, token) {
  return async (path) => {
    let answer;
    try {
      answer = await fetch(new URL(path, new URL(service, location.href)), token ? { headers: { Authorization: `Bearer ${token}` } } : {});
    } catch (error) {
      throw new Fault(`The service ${service} cannot be reached: ${error.message}`, "unreachable");
    }
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => null);
    throw new Fault(body?.error?.message ?? `${path} was answered ${answer.status}.`, body?.error?.code ?? `http_${answer.status}`);
  };
}

async function fetched(get, onProgress, tries = TRIES) {
  const facts = await (await get("model/device")).json();
  const [total, bytes] = ["bytes", "sent"].map((size) => FILES.reduce((sum, name) => sum + facts[name][size], 0));
  let received = 0;
  const report = (count) => {
    received += count;
    onProgress({ phase: "loading", share: received / total, bytes });
  };
  report(0);
  const answers = await Promise.all(FILES.map((name) => get(`model/${name}`)));
  const tag = answers[1].headers.get("ETag");
  const contents = await Promise.all(answers.map((answer) => content(answer, report)));
  if (/^"[0-9a-f]{64}"$/.test(tag ?? "") && !tag.includes(facts.network.sha256)) {
    if (tries <= 1) throw new Fault("The model on the server keeps changing: try again in a minute.");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return fetched(get, onProgress, tries - 1);
  }
  return { facts, files: Object.fromEntries(FILES.map((name, i) => [name, contents[i]])) };
}

/** An answer's body as an ArrayBuffer; `report` is told of the bytes as they come. */
async function content(answer, report) {
  const parts = [];
  const reader = answer.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      report(part.value.length);
    }
  } catch (error) {
    throw new Fault(`The model could not be loaded: ${error.message}`);
  }
  return new Blob(parts).arrayBuffer();
}
