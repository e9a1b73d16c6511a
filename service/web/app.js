// The main page: classifies files, recordings and samples, and listens live.
import { annotator, setAnnotator } from "./feedback.js";
import { watchModel } from "./model_panel.js";
import { connect, inTurn, showCorrections, showOutcome, showStatus } from "./page.js";
import { listenLive } from "./recording.js";
import { addResult } from "./results.js";
import { SentCorrections } from "./sent_corrections.js";
import { listen } from "./server_stream.js";
import { classifyFiles, splitIntoBatches } from "./upload.js";

const MODEL_POLL_MS = 15_000;
const $ = (id) => document.getElementById(id);
const corrections = new SentCorrections(() => $("key").value, () => showCorrections(corrections));
let cancelled = null; // the AbortController of the upload in progress

// --- files ---

const classify = inTurn(classifyNow);

async function classifyNow(files) {
  cancelled = new AbortController();
  $("upload").hidden = false;
  const added = [];
  try {
    for (const batch of splitIntoBatches(files)) {
      added.push(...await classifyBatch(batch, added.length, files.length));
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    $("upload").hidden = true;
  }
  showOutcome(added, files.length, cancelled.signal.aborted);
}

async function classifyBatch(batch, done, total) {
  const add = (file, prediction) => addResult(file, prediction, corrections, showStatus);
  const on = {
    progress: (part) => showProgress(part, done + 1, total),
    busy: (seconds) => showStatus(`The server is busy; trying again in ${seconds} s …`),
  };
  on.progress(0);
  try {
    const { results } = await classifyFiles(batch, $("key").value, on, cancelled.signal);
    return results.map((prediction, i) => add(batch[i], prediction));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return batch.map((file) => add(file, { filename: file.name, error: { message: error.message } }));
  }
}

/** The bar shows what was sent; while the server classifies, it has no value. */
function showProgress(part, number, total) {
  if (part < 1) $("sent").value = part;
  else $("sent").removeAttribute("value");
  const which = total === 1 ? "" : ` ${number} of ${total}`;
  showStatus(part < 1 ? `Sending${which} …` : `Classifying${which} …`);
}

// --- corrections ---

const SAVE_NOTES = {
  uncertain: "This server saves recordings with uncertain predictions as training data.",
  all: "This server saves all recordings as training data.",
};

async function showFeedbackSettings() {
  await corrections.load();
  const { feedback, save_recordings } = corrections.settings;
  $("saving-note").textContent = SAVE_NOTES[save_recordings] ?? "";
  $("saving-note").hidden = !(save_recordings in SAVE_NOTES);
  $("annotator-details").hidden = $("feedback-note").hidden = !feedback;
  $("review-link").hidden = save_recordings === "off"; // there is nothing to review
  $("feedback-note").textContent = save_recordings === "off"
    ? "Corrections are sent to this server, which saves no recordings."
    : "Corrections are sent to this server together with the recording, which it saves as training data. Of a long recording it gets the corrected stretch alone.";
}

// --- events of the page ---

connect(classify, corrections);
$("live").onclick = () => listenLive((on) => listen($("key").value, on), showStatus);
$("cancel").onclick = () => cancelled?.abort();
$("key-form").onsubmit = (event) => event.preventDefault();
$("key").value = sessionStorage.getItem("earful.key") ?? "";
$("key").onchange = ({ target }) => sessionStorage.setItem("earful.key", target.value);
$("annotator-form").onsubmit = (event) => event.preventDefault();
$("annotator").value = annotator();
$("annotator").onchange = ({ target }) => { target.value = setAnnotator(target.value); };
$("origin").textContent = document.baseURI.replace(/[?#].*$/, "");
showFeedbackSettings();
watchModel(classify);
setInterval(() => watchModel(classify), MODEL_POLL_MS);
