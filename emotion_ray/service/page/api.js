// The service's doors: models, predictions for a file, and problems as it tells them.

import { byId } from "./elements.js";

const KEY = "emotion_ray.key";

export class Problem extends Error {}

export const key = () => sessionStorage.getItem(KEY);

/** Asks for the key in a dialog; resolves when there is a new one, and is a Problem when none is given. */
export function askForKey() {
  const dialog = byId("key-dialog");
  byId("key-wrong").hidden = !key();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      const given = byId("key").value;
      if (!given) return reject(new Problem("The service wants its key: load the page again to give it."));
      sessionStorage.setItem(KEY, given);
      resolve();
    }, { once: true });
    dialog.showModal();
  });
}

function headers() {
  return key() ? { Authorization: `Bearer ${key()}` } : {};
}

export async function fetchModels() {
  for (;;) {
    const answer = await fetch("v1/models", { headers: headers() });
    if (answer.ok) return answer.json();
    if (answer.status !== 401) throw await problemOf(answer.status, await answer.text());
    await askForKey();
  }
}

/**
 * Sends a video.
 * @param {File} file
 * @param {{model: string, annotate?: boolean}} fields
 * @param {(part: number) => void} onProgress of the upload, 0 to 1
 * @param {AbortSignal} signal
 * @returns the predictions, or the annotated video as a Blob
 */
export function predict(file, fields, onProgress, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  form.append("video", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();  // fetch does not tell how far an upload is
    request.open("POST", "v1/predict");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "blob";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new Problem("The service can't be reached.")));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    request.addEventListener("load", async () => {
      const answer = request.response;
      if (request.status !== 200) reject(problemOf(request.status, await answer.text()));
      else if (fields.annotate) resolve(answer);
      else answer.text().then(JSON.parse).then(resolve, reject);
    });
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

/** What went wrong, in the service's own words where it has some. */
function problemOf(status, text) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return new Problem(detail);
  } catch {
    // no problem document: somebody else's answer
  }
  return new Problem(`The service answered ${status}.`);
}

export function streamAddress() {
  const address = new URL("v1/stream", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}
