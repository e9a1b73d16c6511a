// Sends files to the server: several small ones in a request, a large one alone, with progress.
import { authHeaders } from "./feedback.js";

const MAX_FILES_PER_REQUEST = 8;
const MAX_BYTES_PER_REQUEST = 8_000_000; // a larger file has a request of its own
const MAX_ATTEMPTS = 6; // while the server is busy

/** Split files into those of each request. */
export function splitIntoBatches(files) {
  const batches = [];
  let bytes = Infinity;
  for (const file of files) {
    if (bytes + file.size > MAX_BYTES_PER_REQUEST || batches.at(-1).length === MAX_FILES_PER_REQUEST) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1).push(file);
    bytes += file.size;
  }
  return batches;
}

/**
 * The body of the response for files in one request; a file's own error is among its results.
 * `on.progress` gets the part of the bytes that was sent, from 0 to 1; `on.busy` the seconds until the
 * next attempt. Throws an Error with the server's message, or an AbortError after `signal`.
 */
export async function classifyFiles(files, key, on, signal) {
  const form = new FormData();
  files.forEach((file) => form.append("file", file, file.name));
  for (let attempt = 1; ; attempt++) {
    const { status, retryAfter, body } = await send("v1/classify", form, authHeaders(key), on.progress, signal);
    if (status === 429 && attempt < MAX_ATTEMPTS) {
      const seconds = Number(retryAfter) || 1;
      on.busy(seconds);
      await wait(seconds, signal);
      continue;
    }
    if (status === 200 || body.results) return body;
    if (files.length === 1) return { results: [{ filename: files[0].name, error: body.error }] };
    if (status !== 413) throw new Error(body.error.message);
    const separate = []; // the request was too large: send each file in its own
    for (const file of files) separate.push(...(await classifyFiles([file], key, on, signal)).results);
    return { results: separate };
  }
}

/** With XMLHttpRequest, since `fetch` does not say how much it has sent. */
function send(path, form, headers, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress(loaded / Math.max(1, total));
    request.onload = () => resolve({
      status: request.status, retryAfter: request.getResponseHeader("retry-after"), body: parse(request),
    });
    request.onerror = () => reject(new Error("the server does not respond, or has refused the file"));
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.throwIfAborted();
    signal.addEventListener("abort", abort);
    request.send(form);
  });
}

function parse(request) {
  const failure = { error: { message: `the server responded with status ${request.status}` } };
  try {
    const body = JSON.parse(request.responseText);
    return body.results || body.error ? body : failure;
  } catch {
    return failure;
  }
}

function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
