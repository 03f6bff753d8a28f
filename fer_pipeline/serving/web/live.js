// The WebSocket /live: a frame goes when the answer to the one before has come; a connection that is lost is opened again.

import { ask, Problem, token } from "./server.js";

const WAITS = [1, 2, 4, 8, 15]; // seconds before each try to connect again
const PAUSE = 50; // milliseconds between two frames, until the server has told its limit

/**
 * Sends frames until the returned `end` is called; `neutral` takes "collect" or "clear". `frame` gives a JPEG as a promise of a Blob; `onFaces` takes each answer,
 * `onWait` the words about a lost connection ("" once there is a new one), `onEnd` those about the end.
 */
export function connect(temporal, { frame, onFaces, onWait, onEnd }) {
  let socket = null;
  let tries = 0;
  let ended = false;

  function open() {
    const address = new URL("live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const mine = new WebSocket(address, ["fer.live.1", ...(token() ? [`bearer.${encoded(token())}`] : [])]);
    let pause = PAUSE;
    let opened = false;
    let fault = null;
    socket = mine;
    mine.addEventListener("open", () => {
      opened = true;
      mine.send(JSON.stringify({ type: "start", temporal }));
    });
    mine.addEventListener("message", async (event) => {
      if (ended) return;
      const answer = JSON.parse(event.data);
      if (answer.type === "model") return void (pause = 1100 / answer.limits.frames_per_second);
      if (answer.type === "neutral") return; // each frame says it, too
      if (answer.type === "error" && answer.frame === undefined) return void (fault = answer);
      if (answer.type === "faces") {
        if (tries) onWait("");
        tries = 0;
        onFaces(answer);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      const blob = ended ? null : await frame();
      if (!ended && mine.readyState === WebSocket.OPEN) mine.send(blob);
    });
    mine.addEventListener("close", () => ended || lost(opened, fault));
  }

  async function lost(opened, fault) {
    if (fault && fault.code !== "idle") return end(fault.message); // idle: the browser stood still, in a tab behind others
    if (!opened) {
      const before = token();
      const why = await refusal();
      if (ended) return;
      if (token() !== before) return open();
      if (why?.code === "unauthorized") return end(why.message);
    }
    if (tries === WAITS.length) return end("The connection to the server was lost, and could not be opened again.");
    const seconds = WAITS[tries++];
    onWait(`The connection to the server was lost. Connecting again (${tries} of ${WAITS.length}) …`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    if (!ended) open();
  }

  function end(words) {
    ended = true;
    onEnd(words);
  }

  open();
  return {
    end() {
      ended = true;
      socket.close();
    },
    neutral(action) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "neutral", action }));
    },
  };
}

/** Why the server may have refused: a script cannot see it of a WebSocket. Where it is the token, a person is asked for it. */
async function refusal() {
  try {
    await ask("model/device");
    return null;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return error;
  }
}

function encoded(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
