// Asks the server; a fault becomes a Problem with words to show. Where the service has a token, it is asked for once per visit.

import { Fault } from "./device/faults.js";
import { $ } from "./dom.js";

/** What went wrong, in words to show. */
export { Fault as Problem };

const KEY = "fer-token";
export const token = () => sessionStorage.getItem(KEY);
const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

/** The answer to a request. `AbortError` passes through. */
export async function ask(path, options = {}) {
  const sent = token();
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault("The server cannot be reached.", "unreachable");
  }
  if (answer.status === 401 && (await askToken(sent))) return ask(path, options);
  if (answer.ok) return answer;
  throw problem(answer.status, await answer.json().catch(() => null));
}

/** JSON of the answer to an upload; `onProgress` is told the share that is sent, `signal` ends it. */
export async function upload(path, file, onProgress, signal) {
  const sent = token();
  const { status, body } = await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells nothing of what is sent
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => resolve({ status: request.status, body: request.response });
    request.onerror = () => reject(new Fault("The server cannot be reached, or refused the file while it was sent.", "unreachable"));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
  if (status === 401 && (await askToken(sent))) return upload(path, file, onProgress, signal);
  if (status < 300) return body;
  throw problem(status, body);
}

let asking = null; // the open dialog: several requests may be refused at once

/** Whether a person gave a token, or gave one while `sent` was refused. */
function askToken(sent) {
  if (token() !== sent) return Promise.resolve(true);
  asking ??= dialog(sent !== null).finally(() => (asking = null));
  return asking;
}

function dialog(wrong) {
  const it = $("token");
  it.returnValue = "";
  $("token-wrong").hidden = !wrong;
  it.showModal();
  return new Promise((resolve) =>
    it.addEventListener(
      "close",
      () => {
        const given = it.returnValue === "send" && $("token-value").value;
        if (given) sessionStorage.setItem(KEY, given);
        $("token-value").value = "";
        resolve(Boolean(given));
      },
      { once: true },
    ),
  );
}

function problem(status, body) {
  if (status === 401) return new Fault("This service needs a token: without it nothing is analysed.", "unauthorized");
  if (status === 429) return new Fault("The server is busy. Please try again in a moment.", body?.error?.code);
  const words = body?.error?.message.replace(/^picture 1(?=[: ])/, "This picture"); // each is sent alone
  return new Fault(words ?? `The server answered ${status}.`, body?.error?.code ?? `http_${status}`);
}
