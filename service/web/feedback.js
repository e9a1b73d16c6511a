// Feedback to the server: who gives it, under which key, and what the server does with it.

const ANNOTATOR_KEY = "earful.annotator";

let name = null; // for browsers that keep nothing

/** The name under which this browser's feedback is kept; one is made up where none was given. */
export function annotator() {
  try {
    name = localStorage.getItem(ANNOTATOR_KEY) || name;
  } catch { /* kept nowhere: as long as the page lives */ }
  return name ?? setAnnotator("");
}

/** Keep a name; an empty one is replaced by one that is made up. */
export function setAnnotator(newName) {
  name = newName.trim() || `page-${crypto.getRandomValues(new Uint32Array(1))[0].toString(16)}`;
  try {
    localStorage.setItem(ANNOTATOR_KEY, name);
  } catch { /* as above */ }
  return name;
}

/** Headers with the API key, if there is one. */
export const authHeaders = (key) => (key ? { authorization: `Bearer ${key}` } : {});

/** What the server does with feedback; nothing where it does not say. */
export async function feedbackStatus() {
  try {
    const answer = await fetch("v1/feedback/status");
    if (answer.ok) return await answer.json();
  } catch { /* not there: as if it were off */ }
  return { feedback: false, save_recordings: "off" };
}

/** The JSON of an answer; an Error with the server's sentence where it refuses. */
export async function requestJson(path, options = {}) {
  const answer = await fetch(path, options).catch(() => { throw new Error("the server does not answer"); });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new Error(body?.error?.message ?? `the server answered with status ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

/** Send what is right of a prediction, with the recording where there is a file. */
export function sendFeedback(key, annotation, file = null) {
  if (!file) {
    const headers = { ...authHeaders(key), "content-type": "application/json" };
    return requestJson("v1/feedback", { method: "POST", headers, body: JSON.stringify(annotation) });
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(annotation)) form.append(name, String(value));
  form.append("file", file, file.name);
  return requestJson("v1/feedback", { method: "POST", headers: authHeaders(key), body: form });
}
