// Requests for maps of where the served model listened.
import { authHeaders, requestJson } from "./feedback.js";

/** The map of a clip; of `label`, or of the one with the highest score. */
export function requestMap(clip, label = null) {
  const form = new FormData(), key = document.getElementById("key").value;
  form.append("file", clip, clip.name ?? "clip.wav");
  const query = label === null ? "" : `?${new URLSearchParams({ label })}`;
  return requestJson(`v1/activation-map${query}`, { method: "POST", body: form, headers: authHeaders(key) });
}
