// The page: files and recordings to the server, answers to a table, a live mode beside it.
import { decode, drawLogMel, drawWaveform, writeWav } from "./sound.js";
import { listen, openMicrophone } from "./microphone.js";
import { createLabelInput, splitLabels } from "./labels.js";
import { annotator, authHeaders, feedbackStatus, sendFeedback, setAnnotator } from "./feedback.js";

const MAX_FILES_PER_REQUEST = 8;
const MAX_EVENTS_SHOWN = 200;
const MAX_SCORES_SHOWN = 8; // or as many as were predicted at once
const MAX_BYTES_PER_REQUEST = 8_000_000;
const RECORDING_SECONDS = 30;
const CORRECTIONS_KEY = "earful.corrections";
const $ = (id) => document.getElementById(id);
const results = []; // {file, answer, row, detail}
let labels = [];
let model = null;
let feedbackSettings = { feedback: false, save_recordings: "off" };

// --- what is there ---

async function showModel() {
  try {
    const answer = await fetch("readyz");
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error.message);
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
      body.results.forEach((answer, i) => added.push(addResult(batch[i], answer)));
    } catch (error) {
      batch.forEach((file) => added.push(addResult(file, { filename: file.name, error: { message: error.message } })));
    }
    done += batch.length;
  }
  const failed = added.filter(({ answer }) => answer.error).length;
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
    const answer = await fetch("v1/classify", {
      method: "POST", body: form, headers: authHeaders($("key").value),
    }).catch(() => { throw new Error("the server does not answer"); });
    if (answer.status === 429 && attempt < 5) {
      const seconds = Number(answer.headers.get("retry-after")) || 1;
      showStatus(`The server is busy; again in ${seconds} s …`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      continue;
    }
    const body = await answer.json().catch(() => ({ error: { message: `the server answered with status ${answer.status}` } }));
    if (answer.ok || body.results) return body;
    if (files.length === 1) return { results: [{ filename: files[0].name, error: body.error }] };
    if (answer.status !== 413) throw new Error(body.error.message);
    const alone = []; // together they were too much: each for itself
    for (const file of files) alone.push(...(await upload([file])).results);
    return { results: alone };
  }
}

function addResult(file, answer) {
  const row = $("row").content.cloneNode(true).querySelector("tr");
  const open = row.querySelector(".open");
  open.textContent = file.name;
  const result = { file, answer, row, detail: null };
  open.onclick = () => toggle(result, open.getAttribute("aria-expanded") !== "true");
  if (answer.error) {
    const reason = row.querySelector(".label");
    reason.textContent = answer.error.message;
    reason.classList.add("failed");
    while (reason.nextElementSibling) reason.nextElementSibling.remove();
    reason.colSpan = 4;
  } else {
    labels = answer.scores.map(({ label }) => label).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    row.querySelector(".label").textContent = answer.label;
    row.querySelector(".score").textContent = `${(100 * answer.score).toFixed(1)} %`;
    row.querySelector(".seconds").textContent = answer.seconds.toFixed(2);
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
  const { file, answer, row } = result;
  const detail = $("detail").content.cloneNode(true).querySelector("tr");
  row.after(detail);
  const scores = detail.querySelector(".scores");
  const shown = Math.max(MAX_SCORES_SHOWN, splitLabels(answer.label ?? "").length);
  for (const { label, score } of (answer.scores ?? []).slice(0, shown)) {
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
    wave.setAttribute("aria-label", `Waveform of ${file.name}`);
    mel.setAttribute("aria-label", `Log-mel spectrogram of ${file.name}`);
  } else {
    detail.querySelectorAll("figure").forEach((figure) => figure.remove());
  }
}

// --- corrections: to the server where it keeps feedback, else kept in this browser ---

const SAVE_NOTES = {
  uncertain: "Recordings with uncertain predictions are saved as training data.",
  all: "Recordings are saved as training data.",
};

async function showFeedbackSettings() {
  feedbackSettings = await feedbackStatus();
  $("saving-note").textContent = SAVE_NOTES[feedbackSettings.save_recordings] ?? "";
  $("saving-note").hidden = !(feedbackSettings.save_recordings in SAVE_NOTES);
  $("annotator-details").hidden = $("review-link").hidden = $("feedback-note").hidden = !feedbackSettings.feedback;
  $("feedback-note").textContent = feedbackSettings.save_recordings === "off"
    ? "Corrections are sent to this server without the recording."
    : "Corrections are sent to this server together with the recording, which is saved as training data.";
}

async function submitCorrection(result, label) {
  const select = result.row.querySelector(".correct-label");
  result.corrected = label;
  select.classList.toggle("corrected", label !== "");
  if (!feedbackSettings.feedback || !result.answer.prediction_id) return storeLocally(result, label);
  if (!label && !result.sent) return storeLocally(result, "");
  const pending = (result.pending = (result.pending ?? Promise.resolve()).then(() => sendCorrection(result, label)));
  await pending; // one after the other: the last one counts
}

async function sendCorrection(result, label) {
  const withAudio = feedbackSettings.save_recordings !== "off" && label;
  try {
    const stored = await sendFeedback($("key").value, {
      prediction_id: result.answer.prediction_id, label: label || null, annotator: annotator(), source: "page",
    }, withAudio ? result.file : null);
    result.sent = true;
    storeLocally(result, "");
    showStatus(label
      ? `Sent: ${result.file.name} is ${label}${stored.recording_saved ? " (recording saved)" : " (recording not saved)"}.`
      : `Undone: ${result.file.name}.`);
  } catch (error) {
    storeLocally(result, label);
    showStatus(`The server did not accept the correction; it stays in this browser: ${error.message}`, true);
  }
}

function storeLocally(result, label) {
  const { name, size, lastModified } = result.file;
  const id = `${name}/${size}/${lastModified}`; // names repeat
  const kept = localCorrections().filter((other) => other.id !== id);
  if (label) kept.push({ id, filename: name, label, predicted: result.answer.label, version: model?.version });
  try {
    localStorage.setItem(CORRECTIONS_KEY, JSON.stringify(kept));
  } catch {
    showStatus("Browser storage is full: download the corrections.", true);
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

// In a table for people, a cell that a spreadsheet would take for a formula gets an apostrophe.
const escapeFormula = (value) => String(value ?? "").replace(/^[=+\-@\t\r]/, "'$&");

function download(name, rows) {
  const cell = (value) => {
    const text = String(value ?? "");
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// --- microphone ---

let stopRecording = null;
async function record() {
  if (stopRecording) return stopRecording();
  const chunks = [];
  let seconds = 0, microphone;
  $("record").disabled = true; // until the question for permission is answered
  try {
    microphone = await openMicrophone((chunk) => {
      chunks.push(chunk);
      seconds += 0.04; // of a chunk, see tap.js
      // Once a second: a screen reader says it aloud.
      if (Math.floor(seconds) > Math.floor(seconds - 0.04)) showStatus(`Recording: ${Math.floor(seconds)} s …`);
      if (seconds > RECORDING_SECONDS) stopRecording?.();
    });
  } catch (error) {
    return showStatus(`No microphone: ${error.message}`, true);
  } finally {
    $("record").disabled = false;
  }
  setPressed("record", true, "Stop and classify");
  stopRecording = async () => {
    stopRecording = null;
    setPressed("record", false, "Record");
    await microphone.close();
    const samples = new Float32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let at = 0;
    for (const chunk of chunks) { samples.set(chunk, at); at += chunk.length; }
    const name = `recording-${new Date().toISOString().slice(11, 19).replaceAll(":", "")}.wav`;
    await classify([new File([writeWav(samples, microphone.rateHz)], name, { type: "audio/wav" })]);
  };
}

let stopLive = null;
async function live() {
  if (stopLive) return stopLive();
  $("live-panel").hidden = false;
  $("events").replaceChildren();
  const canvas = $("level"), g = canvas.getContext("2d");
  g.clearRect(0, 0, canvas.width, canvas.height);
  $("live").disabled = true;
  try {
    stopLive = await listen($("key").value, {
      chunk: (chunk) => drawLevel(canvas, g, chunk),
      ready: () => showStatus("Listening. Speak."),
      result: ({ label, score }) => {
        $("now").textContent = label ?? "…";
        $("now-score").value = score;
      },
      event: ({ label, score, start }) => {
        const item = document.createElement("li"), word = document.createElement("b"), note = document.createElement("small");
        word.textContent = label;
        note.textContent = ` ${(100 * score).toFixed(0)} % at ${start.toFixed(1)} s`;
        item.append(word, note);
        $("events").append(item);
        if ($("events").children.length > MAX_EVENTS_SHOWN) $("events").firstElementChild.remove();
      },
      closed: (reason) => {
        stopLive = null;
        setPressed("live", false, "Listen live");
        showStatus(reason ? `The stream ended: ${reason}` : "Stopped listening.", Boolean(reason));
      },
    });
    setPressed("live", true, "Stop listening");
  } catch (error) {
    showStatus(`No microphone: ${error.message}`, true);
  } finally {
    $("live").disabled = false;
  }
}

function drawLevel(canvas, g, chunk) {
  let peak = 0;
  for (const x of chunk) peak = Math.max(peak, Math.abs(x));
  g.globalCompositeOperation = "copy"; // what was there must not shine through
  g.drawImage(canvas, -3, 0);
  g.globalCompositeOperation = "source-over";
  g.clearRect(canvas.width - 3, 0, 3, canvas.height);
  g.fillStyle = "#4fc3b8";
  const height = Math.max(1, Math.sqrt(peak) * canvas.height);
  g.fillRect(canvas.width - 2, (canvas.height - height) / 2, 2, height);
}

function setPressed(id, down, text) {
  $(id).setAttribute("aria-pressed", String(down));
  $(id).textContent = text;
}

// --- wiring ---

$("files").onchange = async ({ target }) => {
  const files = [...target.files];
  target.value = ""; // the same file may be chosen again
  if (files.length) await classify(files);
};
const drop = $("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
// A file that misses the field must not replace the page.
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length) await classify(files);
});
$("record").onclick = record;
$("live").onclick = live;
$("key-form").onsubmit = (event) => event.preventDefault();
$("key").value = sessionStorage.getItem("earful.key") ?? "";
$("key").onchange = ({ target }) => sessionStorage.setItem("earful.key", target.value);
$("csv").onclick = () => download("earful.csv", [
  ["filename", "label", "score", "seconds", "error", "correct_label"],
  ...results.map(({ file, answer, corrected }) => [
    file.name, answer.label, answer.score, answer.seconds, answer.error?.message, corrected,
  ].map(escapeFormula)),
]);
$("corrections").onclick = () => download("corrections.csv", [
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
