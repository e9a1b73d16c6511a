// The main page: classifies files and recordings, shows the results in a table, and listens live.
import { downloadCsv, escapeFormula } from "./csv.js";
import { addActivationButton } from "./activation.js";
import { decode, drawLogMel, drawWaveform } from "./sound.js";
import { createLabelInput, splitLabels } from "./labels.js";
import { listenLive, record } from "./recording.js";
import { annotator, authHeaders, feedbackStatus, sendFeedback, setAnnotator } from "./feedback.js";

const MAX_FILES_PER_REQUEST = 8;
const MAX_SCORES_SHOWN = 8; // more if a multi-label model predicts more
const MAX_BYTES_PER_REQUEST = 8_000_000;
const CORRECTIONS_KEY = "earful.corrections";
const $ = (id) => document.getElementById(id);
const results = []; // {file, prediction, row, detail}
let labels = [];
let model = null;
let feedbackSettings = { feedback: false, save_recordings: "off" };

// --- model ---

async function showModel() {
  try {
    const response = await fetch("readyz");
    const body = await response.json();
    if (!response.ok) throw new Error(body.error.message);
    model = body.model;
    const release = model.release ? `@${model.release}` : "";
    $("model").textContent = `${model.name}${release} · ${model.architecture} · version ${model.version}`;
  } catch (error) {
    $("model").textContent = `Not ready: ${error.message}`;
  }
}

function showStatus(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// --- files ---

async function classify(files) {
  const batches = splitIntoBatches(files);
  const added = [];
  let done = 0;
  for (const batch of batches) {
    showStatus(`Classifying ${done + 1} of ${files.length} …`);
    try {
      const body = await upload(batch);
      model = body.model ?? model;
      body.results.forEach((prediction, i) => added.push(addResult(batch[i], prediction)));
    } catch (error) {
      batch.forEach((file) => added.push(addResult(file, { filename: file.name, error: { message: error.message } })));
    }
    done += batch.length;
  }
  const failed = added.filter(({ prediction }) => prediction.error).length;
  showStatus(failed ? `${failed} of ${files.length} files could not be read; see the table.` : `${files.length} ${files.length === 1 ? "file" : "files"} classified.`, failed > 0);
  if (files.length === 1 && !failed) toggle(added[0], true);
}

function splitIntoBatches(files) {
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

async function upload(files) {
  const form = new FormData();
  files.forEach((file) => form.append("file", file, file.name));
  for (let attempt = 0; ; attempt++) {
    const response = await fetch("v1/classify", {
      method: "POST", body: form, headers: authHeaders($("key").value),
    }).catch(() => { throw new Error("the server does not respond"); });
    if (response.status === 429 && attempt < 5) {
      const seconds = Number(response.headers.get("retry-after")) || 1;
      showStatus(`The server is busy; trying again in ${seconds} s …`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      continue;
    }
    const body = await response.json().catch(() => ({ error: { message: `the server responded with status ${response.status}` } }));
    if (response.ok || body.results) return body;
    if (files.length === 1) return { results: [{ filename: files[0].name, error: body.error }] };
    if (response.status !== 413) throw new Error(body.error.message);
    const separate = []; // the request was too large: send each file in its own
    for (const file of files) separate.push(...(await upload([file])).results);
    return { results: separate };
  }
}

function addResult(file, prediction) {
  const row = $("row").content.cloneNode(true).querySelector("tr");
  const open = row.querySelector(".open");
  open.textContent = file.name;
  const result = { file, prediction, row, detail: null };
  open.onclick = () => toggle(result, open.getAttribute("aria-expanded") !== "true");
  if (prediction.error) {
    const reason = row.querySelector(".label");
    reason.textContent = prediction.error.message;
    reason.classList.add("failed");
    while (reason.nextElementSibling) reason.nextElementSibling.remove();
    reason.colSpan = 4;
  } else {
    labels = prediction.scores.map(({ label }) => label).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    row.querySelector(".label").textContent = prediction.label;
    row.querySelector(".score").textContent = `${(100 * prediction.score).toFixed(1)} %`;
    row.querySelector(".seconds").textContent = prediction.seconds.toFixed(2);
    createLabelInput(row.querySelector(".choice"), `Correct label of ${file.name}`, labels,
      model?.score_kind === "sigmoid", (label) => submitCorrection(result, label));
  }
  results.push(result);
  $("rows").append(row);
  $("results-panel").hidden = false;
  $("count").textContent = `${results.length} ${results.length === 1 ? "result" : "results"}`;
  return result;
}

function toggle(result, show) {
  const open = result.row.querySelector(".open");
  open.setAttribute("aria-expanded", String(show));
  if (!show) {
    if (result.detail) result.detail.hidden = true;
    return;
  }
  result.detail ??= createDetail(result);
  result.detail.hidden = false;
}

function createDetail(result) {
  const { file, prediction, row } = result;
  const detail = $("detail").content.cloneNode(true).querySelector("tr");
  row.after(detail);
  const scores = detail.querySelector(".scores");
  const shown = Math.max(MAX_SCORES_SHOWN, splitLabels(prediction.label ?? "").length);
  for (const { label, score } of (prediction.scores ?? []).slice(0, shown)) {
    const item = document.createElement("li");
    const name = document.createElement("span"), bar = document.createElement("meter"), value = document.createElement("span");
    name.textContent = label;
    bar.value = score;
    bar.setAttribute("aria-label", label);
    value.textContent = `${(100 * score).toFixed(1)} %`;
    item.append(name, bar, value);
    scores.append(item);
  }
  result.url = URL.createObjectURL(file);
  detail.querySelector("audio").src = result.url;
  drawPlots(file, detail);
  return detail;
}

async function drawPlots(file, detail) {
  const samples = await decode(await file.arrayBuffer());
  if (samples?.length) {
    const wave = detail.querySelector(".wave"), mel = detail.querySelector(".mel");
    drawWaveform(wave, samples);
    drawLogMel(mel, samples);
    addActivationButton(mel, file, samples.length / 16_000);
    wave.setAttribute("aria-label", `Waveform of ${file.name}`);
    mel.setAttribute("aria-label", `Log-mel spectrogram of ${file.name}`);
  } else {
    detail.querySelectorAll("figure").forEach((figure) => figure.remove());
  }
}

// --- corrections: sent to the server if feedback is on, else stored in this browser ---

const SAVE_NOTES = {
  uncertain: "This server saves recordings with uncertain predictions as training data.",
  all: "This server saves all recordings as training data.",
};

async function showFeedbackSettings() {
  feedbackSettings = await feedbackStatus();
  $("saving-note").textContent = SAVE_NOTES[feedbackSettings.save_recordings] ?? "";
  $("saving-note").hidden = !(feedbackSettings.save_recordings in SAVE_NOTES);
  $("annotator-details").hidden = $("review-link").hidden = $("feedback-note").hidden = !feedbackSettings.feedback;
  $("feedback-note").textContent = feedbackSettings.save_recordings === "off"
    ? "Corrections are sent to this server, without the recording."
    : "Corrections are sent to this server together with the recording, which it saves as training data.";
}

async function submitCorrection(result, label) {
  const select = result.row.querySelector(".correct-label");
  result.corrected = label;
  select.classList.toggle("corrected", label !== "");
  if (!feedbackSettings.feedback || !result.prediction.prediction_id) return storeLocally(result, label);
  if (!label && !result.sent) return storeLocally(result, "");
  // Send one after the other, because the last one counts.
  result.pending = (result.pending ?? Promise.resolve()).then(() => sendCorrection(result, label));
  await result.pending;
}

async function sendCorrection(result, label) {
  const withAudio = feedbackSettings.save_recordings !== "off" && label;
  try {
    const stored = await sendFeedback($("key").value, {
      prediction_id: result.prediction.prediction_id, label: label || null, annotator: annotator(), source: "page",
    }, withAudio ? result.file : null);
    result.sent = true;
    storeLocally(result, "");
    showStatus(label
      ? `Correction sent: ${result.file.name} is ${label}${stored.recording_saved ? " (recording saved)" : " (recording not saved)"}.`
      : `Correction withdrawn: ${result.file.name}.`);
  } catch (error) {
    storeLocally(result, label);
    showStatus(`The correction was not sent and is stored in this browser: ${error.message}`, true);
  }
}

function storeLocally(result, label) {
  const { name, size, lastModified } = result.file;
  const id = `${name}/${size}/${lastModified}`; // a name alone is not unique
  const corrections = localCorrections().filter((other) => other.id !== id);
  if (label) corrections.push({ id, filename: name, label, predicted: result.prediction.label, version: model?.version });
  try {
    localStorage.setItem(CORRECTIONS_KEY, JSON.stringify(corrections));
  } catch {
    showStatus("The browser's storage is full; download the corrections and delete them here.", true);
  }
  showCorrections();
}

function localCorrections() {
  try {
    return JSON.parse(localStorage.getItem(CORRECTIONS_KEY)) ?? [];
  } catch {
    return [];
  }
}

function showCorrections() {
  const count = localCorrections().length;
  $("corrections").hidden = $("delete-corrections").hidden = count === 0;
  $("corrections").textContent = `Download ${count} ${count === 1 ? "correction" : "corrections"}`;
  if (count) $("results-panel").hidden = false;
}

// --- events ---

$("files").onchange = async ({ target }) => {
  const files = [...target.files];
  target.value = ""; // otherwise choosing the same file again is no change
  if (files.length) await classify(files);
};
const drop = $("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
// Without this, a file dropped beside the field would replace the page.
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length) await classify(files);
});
$("record").onclick = () => record(classify, showStatus);
$("live").onclick = () => listenLive($("key").value, showStatus);
$("key-form").onsubmit = (event) => event.preventDefault();
$("key").value = sessionStorage.getItem("earful.key") ?? "";
$("key").onchange = ({ target }) => sessionStorage.setItem("earful.key", target.value);
$("csv").onclick = () => downloadCsv("earful.csv", [
  ["filename", "label", "score", "seconds", "error", "correct_label"],
  ...results.map(({ file, prediction, corrected }) => [
    file.name, prediction.label, prediction.score, prediction.seconds, prediction.error?.message, corrected,
  ].map(escapeFormula)),
]);
$("corrections").onclick = () => downloadCsv("corrections.csv", [
  ["filename", "label"], ...localCorrections().map(({ filename, label }) => [filename, label]),
]);
$("clear").onclick = () => {
  for (const { url } of results.splice(0)) if (url) URL.revokeObjectURL(url);
  $("rows").replaceChildren();
  $("count").textContent = "Results";
  $("results-panel").hidden = localCorrections().length === 0;
  showStatus("");
};
$("delete-corrections").onclick = () => {
  localStorage.removeItem(CORRECTIONS_KEY);
  showCorrections();
};
$("annotator-form").onsubmit = (event) => event.preventDefault();
$("annotator").value = annotator();
$("annotator").onchange = ({ target }) => { target.value = setAnnotator(target.value); };
$("origin").textContent = document.baseURI.replace(/[?#].*$/, "");
showCorrections();
showModel();
showFeedbackSettings();
setInterval(showModel, 15_000);
