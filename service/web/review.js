// The review page: one clip after another, labelled with the keyboard.
import { SEPARATOR, splitLabels } from "./labels.js";
import { annotator, requestJson, authHeaders, feedbackStatus, sendFeedback, setAnnotator } from "./feedback.js";
import { decode, drawLogMel, drawWaveform } from "./sound.js";

const CLIPS_PER_PAGE = 20;
// With more labels than this, a key for each would be hard to remember: their beginning is typed.
const MAX_LABELS_WITH_KEYS = 20;
const SPARE_KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const REASONS = { disputed: "labels disagree", unlabelled: "not labelled yet", agreed: "labels agree" };
const $ = (id) => document.getElementById(id);
const done = []; // {clip, label}, the latest last: what undo takes back
let queue = []; // clips that were loaded
let at = 0; // which of them is shown
let cursor = ""; // where the next page begins; null at the end
let labels = [];
let keys = new Map(); // key -> label
let multiLabel = false; // whether a clip may have several labels: then they are chosen, and Enter gives them
const chosen = new Set();
let counts = { remaining: 0, labelled: 0 };
let shown = 0; // number of the clip that is shown: a slower one must not draw over it
let busy = false; // a label is under way: another key must not label the next clip before it is shown
let pending = Promise.resolve(); // what is under way; taking back waits for it

function showStatus(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// --- clips ---

async function startReview() {
  $("annotator").value = setAnnotator($("annotator").value);
  sessionStorage.setItem("earful.key", $("key").value);
  queue = [];
  done.length = at = 0;
  cursor = "";
  $("undo").disabled = true;
  showStatus("");
  if (await load()) show();
  document.activeElement?.blur(); // keys are for the clip now
}

async function load() {
  const query = new URLSearchParams({ annotator: annotator(), limit: CLIPS_PER_PAGE, cursor });
  try {
    const page = await requestJson(`v1/review?${query}`, { headers: authHeaders($("key").value) });
    const known = new Set(queue.map(({ sha256 }) => sha256));
    queue.push(...page.clips.filter(({ sha256 }) => !known.has(sha256)));
    cursor = page.cursor || null;
    multiLabel = page.score_kind === "sigmoid";
    if (page.labels.join("\n") !== labels.join("\n")) showLabels(page.labels);
    counts = { remaining: page.remaining, labelled: page.labelled };
    showCounts();
    return true;
  } catch (error) {
    showStatus(error.message, true);
    return false;
  }
}

async function show() {
  if (at >= queue.length && cursor !== null && !(await load())) return;
  const clip = queue[at];
  $("clip").hidden = !clip;
  $("filter").value = "";
  filter();
  if (!clip) {
    $("player").pause();
    showStatus(queue.length ? "All clips done. Skipped clips come back when you start again." : "No clips to label.");
    return;
  }
  const { prediction } = clip;
  $("predicted").textContent = `Predicted: ${prediction.label} (${(100 * prediction.score).toFixed(0)} %)`;
  $("reason").textContent = REASONS[clip.reason] ?? clip.reason;
  $("reason").classList.toggle("disputed", clip.reason === "disputed");
  chosen.clear();
  renderSelection();
  await showRecording(clip);
}

async function showRecording(clip) {
  const number = ++shown;
  const player = $("player");
  for (const id of ["wave", "mel"]) $(id).getContext("2d").clearRect(0, 0, $(id).width, $(id).height);
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  try {
    // Fetched, since a player cannot send the key.
    const answer = await fetch(clip.audio.slice(1), { headers: authHeaders($("key").value) });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    const blob = await answer.blob();
    if (number !== shown) return;
    player.src = URL.createObjectURL(blob);
    player.play().catch(() => {}); // before the first key a browser may forbid it
    const samples = await decode(await blob.arrayBuffer());
    if (number !== shown) return;
    if (samples?.length) {
      drawWaveform($("wave"), samples);
      drawLogMel($("mel"), samples);
    } else {
      showStatus("This browser cannot play the recording; skip it.", true);
    }
  } catch (error) {
    if (number === shown) showStatus(`The recording could not be loaded: ${error.message}`, true);
  }
}

function showCounts() {
  const all = counts.remaining + counts.labelled;
  $("progress").max = Math.max(1, all);
  $("progress").value = counts.labelled;
  $("count").textContent = `${counts.labelled} of ${all} clips labelled by you`;
}

// --- labels ---

function showLabels(given) {
  labels = given;
  keys = assignKeys(labels);
  const byLabel = new Map([...keys].map(([key, label]) => [label, key]));
  $("labels").replaceChildren(...labels.map((label) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.label = label;
    if (byLabel.has(label)) {
      const key = document.createElement("kbd");
      key.textContent = byLabel.get(label);
      button.append(key);
    }
    button.append(label);
    button.onclick = () => applyLabel(label);
    return button;
  }));
  $("filter").placeholder = keys.size ? "or type a new label" : "type to filter, then Enter";
}

/** A key for each label: its own character where it has only one, else 1 to 9, then letters. */
function assignKeys(all) {
  if (all.length > MAX_LABELS_WITH_KEYS) return new Map();
  const own = new Map(all.filter((label) => [...label].length === 1).map((label) => [label.toLowerCase(), label]));
  const spare = [...SPARE_KEYS].filter((key) => !own.has(key));
  const taken = new Set(own.values());
  for (const label of all) if (!taken.has(label)) own.set(spare.shift(), label);
  return own;
}

/** What Enter gives: the labels that were chosen, else what was heard. */
function proposedLabel() {
  return chosen.size ? labels.filter((label) => chosen.has(label)).join(SEPARATOR) : queue[at].prediction.label;
}

function renderSelection() {
  const all = (text) => (multiLabel ? splitLabels(text) : [text]);
  $("accept").querySelector("span").textContent = proposedLabel();
  $("accept").disabled = !all(proposedLabel()).every((label) => labels.includes(label));
  for (const button of $("labels").children) {
    button.classList.toggle("predicted", all(queue[at].prediction.label).includes(button.dataset.label));
    if (multiLabel) button.setAttribute("aria-pressed", chosen.has(button.dataset.label));
  }
}

/** Choose a label among several, or take it away again. */
function choose(label, isNew) {
  if (!queue[at]) return;
  for (const one of splitLabels(label).map((part) => part.trim())) {
    if (isNew && !labels.includes(one)) showLabels([...labels, one]);
    if (!chosen.delete(one)) chosen.add(one);
  }
  $("filter").value = "";
  filter();
  renderSelection();
}

function matches() {
  const typed = $("filter").value.trim().toLowerCase();
  return labels.filter((label) => label.toLowerCase().startsWith(typed));
}

function filter() {
  const typed = $("filter").value.trim(), found = new Set(matches());
  for (const button of $("labels").children) button.hidden = !found.has(button.dataset.label);
  $("new-label").hidden = !typed || labels.includes(typed);
  $("new-label").textContent = `New label: ${typed}`;
}

/** A label of the clip was named: it is given, or chosen where there may be several. */
function applyLabel(label, isNew = false) {
  if (multiLabel) choose(label, isNew);
  else submitLabel(label, isNew);
}

function submitLabel(label, isNew = false) {
  if (!busy && queue[at]) pending = store(queue[at], label, isNew);
}

function undo() {
  pending = pending.then(undoLast);
}

async function store(clip, label, isNew) {
  busy = true;
  try {
    await sendFeedback($("key").value, {
      prediction_id: clip.prediction_id, label, annotator: annotator(), source: "review",
      new_label: true, // each label that is offered here was given before, or is new on purpose
    });
    if (!clip.labelled) counts = { remaining: counts.remaining - 1, labelled: counts.labelled + 1 };
    clip.labelled = true;
    done.push({ clip, label });
    if (isNew) showLabels([...labels, label]);
    showCounts();
    $("undo").disabled = false;
    showStatus(`Labelled: ${label}`);
    at++;
  } catch (error) {
    return showStatus(`Not stored: ${error.message}`, true);
  } finally {
    busy = false;
  }
  show();
}

async function undoLast() {
  const last = done.at(-1);
  if (!last) return;
  busy = true;
  const before = done.slice(0, -1).findLast(({ clip }) => clip === last.clip)?.label ?? null;
  try {
    await sendFeedback($("key").value, {
      prediction_id: last.clip.prediction_id, label: before, annotator: annotator(), source: "review", new_label: true,
    });
    done.pop();
    if (before === null) {
      last.clip.labelled = false;
      counts = { remaining: counts.remaining + 1, labelled: counts.labelled - 1 };
    }
    at = queue.indexOf(last.clip);
    showCounts();
    $("undo").disabled = done.length === 0;
    showStatus(`Undone: ${last.label}`);
  } catch (error) {
    return showStatus(`Not undone: ${error.message}`, true);
  } finally {
    busy = false;
  }
  show();
}

function move(step) {
  if (busy || at + step < 0 || at >= queue.length + (step < 0)) return;
  at += step;
  showStatus("");
  show();
}

function play() {
  const player = $("player");
  if (!player.src) return;
  player.currentTime = 0;
  player.play().catch((error) => showStatus(`It cannot be played: ${error.message}`, true));
}

function submitTyped() {
  const typed = $("filter").value.trim();
  if (!typed) return $("accept").disabled || submitLabel(proposedLabel());
  const exact = labels.find((label) => label === typed), [first] = matches();
  if (exact ?? first) applyLabel(exact ?? first);
  else showStatus("No label starts with this; use the button to add it.", true);
}

// --- keys ---

const ACTIONS = { " ": play, Enter: submitTyped, ArrowRight: () => move(1), ArrowLeft: () => move(-1), Backspace: undo };

document.addEventListener("keydown", (event) => {
  if ($("clip").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const inFilter = event.target === $("filter"), typed = $("filter").value !== "";
  if (event.target.closest("#start-form")) return;
  if (event.key === "Escape") {
    $("filter").value = "";
    filter();
    $("filter").blur();
    return;
  }
  if (inFilter && (typed || !(event.key in ACTIONS)) && event.key !== "Enter") return;
  // A button that has the focus answers Enter and the space bar itself; one of several labels only the latter.
  if (multiLabel && event.key === "Enter" && event.target.closest("#labels")) {
    event.preventDefault();
    return submitTyped();
  }
  if (event.target.closest("button, audio, summary, a") && (event.key === "Enter" || event.key === " ")) return;
  const action = ACTIONS[event.key];
  const label = keys.get(event.key.toLowerCase());
  if (action || label !== undefined) {
    event.preventDefault();
    if (action) action();
    else if (!event.repeat) applyLabel(label);
  } else if (event.key.length === 1 && !inFilter) {
    $("filter").focus(); // the character itself goes there
  }
});

$("filter").oninput = filter;
$("new-label").onclick = () => applyLabel($("filter").value.trim(), true);
$("accept").onclick = submitTyped;
$("play").onclick = play;
$("back").onclick = () => move(-1);
$("skip").onclick = () => move(1);
$("undo").onclick = undo;
$("start-form").onsubmit = (event) => {
  event.preventDefault();
  startReview();
};
$("annotator").value = annotator();
$("key").value = sessionStorage.getItem("earful.key") ?? "";
const { feedback, save_recordings } = await feedbackStatus();
if (!feedback) showStatus("Feedback is off on this server; start it with --feedback URL.", true);
else if (save_recordings === "off") showStatus("This server does not save recordings (--save-recordings); only earlier ones can be labelled.");
