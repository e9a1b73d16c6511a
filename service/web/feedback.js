// Requests for feedback: the annotator's name, the API key, and the server's settings.

const ANNOTATOR_KEY = "earful.annotator";

let name = null; // for browsers without localStorage

/** The annotator's name in this browser; a random one if none was given. */
export function annotator() {
  try {
    name = localStorage.getItem(ANNOTATOR_KEY) || name;
  } catch { /* no localStorage: the name lasts until the page is closed */ }
  return name ?? setAnnotator("");
}

/** Store a name; an empty one becomes a random one. Returns the name. */
export function setAnnotator(newName) {
  name = newName.trim() || `page-${crypto.getRandomValues(new Uint32Array(1))[0].toString(16)}`;
  try {
    localStorage.setItem(ANNOTATOR_KEY, name);
  } catch { /* no localStorage */ }
  return name;
}

/** Request headers with the API key, if there is one. */
export const authHeaders = (key) => (key ? { authorization: `Bearer ${key}` } : {});

/** The server's feedback settings; off when it does not respond. */
export async function feedbackStatus() {
  try {
    const response = await fetch("v1/feedback/status");
    if (response.ok) return await response.json();
  } catch { /* not reachable: treated as off */ }
  return { feedback: false, save_recordings: "off" };
}

/** The JSON of a response; throws an Error with the server's message on failure. */
export async function requestJson(path, options = {}) {
  const response = await fetch(path, options).catch(() => { throw new Error("the server does not respond"); });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.error?.message ?? `the server responded with status ${response.status}`);
  return body;
}

/** Send the correct label of a prediction, with the recording if a file is given. */
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

/** The result of a clip that is classified only to have its prediction_id. */
export async function classifyClip(key, file) {
  const form = new FormData();
  form.append("file", file, file.name);
  const { results } = await requestJson("v1/classify", { method: "POST", headers: authHeaders(key), body: form });
  return results[0];
}
