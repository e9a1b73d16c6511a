// The page of a static site: classifies files, recordings and samples on this device, and listens live.
import { Corrections } from "../corrections.js";
import { showKnowledge } from "../knowledge.js";
import { connect, inTurn, showCorrections, showOutcome, showStatus } from "../page.js";
import { interrupt, listenLive } from "../recording.js";
import { addResult } from "../results.js";
import { setModel } from "../shown_model.js";
import { listen } from "./live.js";
import { opening } from "./opening.js";

const $ = (id) => document.getElementById(id);
const corrections = new Corrections(() => showCorrections(corrections));
let engine, failure = "", cancelled = false;

async function openModel() {
  try {
    const opened = await opening;
    showModel(opened.model);
    engine = opened;
  } catch (error) {
    $("model").textContent = "Cannot classify here";
    failure = `The model cannot run in this browser: ${error.message}`;
    return showStatus(failure, true);
  }
  for (const control of document.querySelectorAll(":disabled")) control.disabled = false;
  keepForOffline();
}

function showModel(model) {
  setModel(model);
  $("model").textContent = `${model.name} · ${model.architecture} · version ${model.version}`;
  $("reject-threshold").textContent = `${Math.round(100 * model.rejection_threshold)} %`;
  $("reject").closest("label").hidden = model.rejection_threshold === 0;
  showKnowledge(model, classify);
}

/** Keeps the site in this browser, where that is allowed: over https, or on localhost. */
function keepForOffline() {
  navigator.serviceWorker?.register(new URL("service_worker.js", document.baseURI))
    .catch(() => {}); // it works all the same, with a network
}

// --- files ---

const classifyInTurn = inTurn(classifyNow, openModel());

function classify(files) {
  if (!engine) showStatus("The files wait for the model …");
  return classifyInTurn(files);
}

async function classifyNow(files) {
  if (!engine) return showStatus(failure, true);
  cancelled = false;
  $("upload").hidden = false;
  const added = [];
  try {
    for (const file of files) {
      if (!cancelled) added.push(await classifyFile(file, added.length + 1, files.length));
    }
  } finally {
    $("upload").hidden = true;
  }
  showOutcome(added.filter(Boolean), files.length, cancelled);
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

// --- events of the page ---

connect(classify, corrections);
$("live").onclick = () => listenLive((on) => listen(engine, $("reject").checked, on), showStatus);
$("cancel").onclick = () => {
  cancelled = true;
  engine.cancel();
};
// A phone that sleeps, or another tab, may take the microphone away without a word.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") interrupt("the page was hidden, or the device went to sleep. Start again.");
});
$("from-file").remove(); // scripts run
