// The page of a static site: classifies files, recordings and samples on this device, and listens live.
import { Corrections } from "../corrections.js";
import { downloadCsv } from "../csv.js";
import { watchFiles } from "../file_input.js";
import { showKnowledge } from "../knowledge.js";
import { interrupt, listenLive, record } from "../recording.js";
import { addResult, clearResults, hasTimeline, resultRows, toggle } from "../results.js";
import { setModel } from "../shown_model.js";
import { listen } from "./live.js";
import { opening } from "./opening.js";

const $ = (id) => document.getElementById(id);
const corrections = new Corrections(showCorrections);
let engine, failure = "", cancelled = false;

function showStatus(text, bad = false) {
  if ($("status").textContent !== text) $("status").textContent = text; // a screen reader reads every change aloud
  $("status").classList.toggle("bad", bad);
}

async function openModel() {
  try {
    engine = await opening;
  } catch (error) {
    $("model").textContent = "Cannot classify here";
    failure = `The model cannot run in this browser: ${error.message}`;
    return showStatus(failure, true);
  }
  const { model } = engine;
  setModel(model);
  $("model").textContent = `${model.name} · ${model.architecture} · version ${model.version}`;
  $("reject-threshold").textContent = `${Math.round(100 * model.rejection_threshold)} %`;
  $("reject").closest("label").hidden = model.rejection_threshold === 0;
  showKnowledge(model, classify);
  for (const control of document.querySelectorAll(":disabled")) control.disabled = false;
  keepForOffline();
}

/** Keeps the site in this browser, where that is allowed: over https, or on localhost. */
function keepForOffline() {
  navigator.serviceWorker?.register(new URL("service_worker.js", document.baseURI))
    .catch(() => {}); // it works all the same, with a network
}

// --- files ---

let queue = openModel();
/** Classify files, after those that were given before and once the model is open. */
function classify(files) {
  if (!engine) showStatus("The files wait for the model …");
  queue = queue.then(() => classifyNow(files));
  return queue;
}

async function classifyNow(files) {
  if (!engine) return showStatus(failure, true);
  cancelled = false;
  $("upload").hidden = false;
  const added = [];
  for (const file of files) {
    if (!cancelled) added.push(await classifyFile(file, added.length + 1, files.length));
  }
  $("upload").hidden = true;
  showOutcome(added.filter(Boolean), files.length);
}

/** The result in the table; null if it was cancelled. */
async function classifyFile(file, number, total) {
  showProgress(0, number, total);
  try {
    const prediction = await engine.classify(file, $("reject").checked, (part) => showProgress(part, number, total));
    return addResult(file, prediction, corrections, showStatus);
  } catch (error) {
    if (error.name === "AbortError") return null;
    return addResult(file, { filename: file.name, error: { message: error.message } }, corrections, showStatus);
  }
}

function showProgress(part, number, total) {
  $("sent").value = part;
  showStatus(`Classifying${total === 1 ? "" : ` ${number} of ${total}`} …`);
}

function showOutcome(added, total) {
  const failed = added.filter(({ prediction }) => prediction.error).length;
  const files = total === 1 ? "file" : "files";
  if (cancelled) showStatus(`Cancelled: ${added.length} of ${total} ${files} classified.`);
  else if (failed) showStatus(`Errors in ${failed} of ${total} ${files}; see the table.`, true);
  else showStatus(`${total} ${files} classified.`);
  if (total === 1 && added.length && (!failed || hasTimeline(added[0].prediction))) toggle(added[0], true);
}

function showCorrections() {
  const count = corrections.stored().length;
  $("corrections").hidden = $("delete-corrections").hidden = count === 0;
  $("corrections").textContent = `Download ${count} ${count === 1 ? "correction" : "corrections"}`;
  if (count) $("results-panel").hidden = false;
}

// --- events of the page ---

watchFiles(classify);
$("record").onclick = () => record(classify, showStatus);
$("live").onclick = () => listenLive((on) => listen(engine, $("reject").checked, on), showStatus);
$("cancel").onclick = () => {
  cancelled = true;
  engine.cancel();
};
// A phone that sleeps, or another tab, may take the microphone away without a word.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") interrupt("the page was hidden, or the device went to sleep. Start again.");
});
$("csv").onclick = () => downloadCsv("earful.csv", resultRows());
$("corrections").onclick = () => corrections.download();
$("delete-corrections").onclick = () => corrections.delete();
$("clear").onclick = () => {
  clearResults();
  $("results-panel").hidden = corrections.stored().length === 0;
  showStatus("");
};
$("from-file").remove(); // scripts run
showCorrections();
