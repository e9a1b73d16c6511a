// The review page: shows clips one by one, to be labelled with the keyboard.
import { SEPARATOR, splitLabels } from "./labels.js";
import { annotator, requestJson, authHeaders, feedbackStatus, sendFeedback, setAnnotator } from "./feedback.js";
import { decode, drawLogMel, drawWaveform } from "./sound.js";

const CLIPS_PER_PAGE = 20;
// With more labels, keys would be hard to remember: type the start of a label instead.
const MAX_LABELS_WITH_KEYS = 20;
const SPARE_KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const REASONS = { disputed: "labels disagree", unlabelled: "not labelled yet", agreed: "labels agree" };
const $ = (id) => document.getElementById(id);
const done = []; // {clip, label}, latest last; undo removes the last one
let queue = []; // loaded clips
let position = 0; // of the current clip in the queue
let cursor = ""; // of the next page; null after the last one
let labels = [];
let keys = new Map(); // key -> label
let multiLabel = false; // a key selects one of several labels, and Enter submits them
const selected = new Set();
let settings = { feedback: false, save_recordings: "off" };
let counts = { remaining: 0, labelled: 0 };
let shown = 0; // counts displayed clips, so that a clip that loads late is not drawn over the next one
let busy = false; // a label is being sent: ignore keys until the next clip is shown
let pending = Promise.resolve(); // the label being sent; undo waits for it

function showStatus(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// --- clips ---

async function startReview() {
  $("annotator").value = setAnnotator($("annotator").value);
  sessionStorage.setItem("earful.key", $("key").value);
  queue = [];
  done.length = position = 0;
  cursor = "";
  $("undo").disabled = true;
  showStatus("");
  if (await load()) show();
  document.activeElement?.blur(); // so that keys act on the clip
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
  if (position >= queue.length && cursor !== null && !(await load())) return;
  const clip = queue[position];
  $("clip").hidden = !clip;
  $("filter").value = "";
  filter();
  if (!clip) {
    $("player").pause();
    showStatus(queue.length ? "All clips done. Start again to see skipped clips." : whyEmpty());
    return;
  }
  const { prediction } = clip;
  $("predicted").textContent = `Predicted: ${prediction.label} (${(100 * prediction.score).toFixed(0)} %)`;
  $("reason").textContent = REASONS[clip.reason] ?? clip.reason;
  $("reason").classList.toggle("disputed", clip.reason === "disputed");
  selected.clear();
  renderSelection();
  await showRecording(clip);
}

const SAVED_CLIPS = {
  feedback: "It saves those that are sent with a correct label, as the main page does.",
  uncertain: "It saves those that the model is unsure of, and those sent with a correct label.",
  all: "It saves all that are classified.",
};

/** Why there is no clip to label. */
function whyEmpty() {
  if (!settings.feedback) return "Feedback is off on this server: start it with --feedback URL (EARFUL_FEEDBACK_URL).";
  if (counts.labelled) return `Nothing is waiting: you have labelled all ${counts.labelled} clips.`;
  if (settings.save_recordings !== "off") return `Nothing is waiting: this server has no recordings yet. ${SAVED_CLIPS[settings.save_recordings]}`;
  return "This server saves no recordings, so no new ones come here: start it with --save-recordings feedback (EARFUL_SAVE_RECORDINGS).";
}

async function showRecording(clip) {
  const number = ++shown;
  const player = $("player");
  for (const id of ["wave", "mel"]) $(id).getContext("2d").clearRect(0, 0, $(id).width, $(id).height);
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  try {
    // Fetched here, because an audio element cannot send the API key.
    const response = await fetch(clip.audio.slice(1), { headers: authHeaders($("key").value) });
    if (!response.ok) throw new Error((await response.json()).error.message);
    const blob = await response.blob();
    if (number !== shown) return;
    player.src = URL.createObjectURL(blob);
    player.play().catch(() => {}); // browsers forbid it before the first key or click
    const samples = await decode(await blob.arrayBuffer());
    if (number !== shown) return;
    if (samples?.length) {
      drawWaveform($("wave"), samples);
      drawLogMel($("mel"), samples);
    } else {
      showStatus("This browser cannot play the recording; skip the clip.", true);
    }
  } catch (error) {
    if (number === shown) showStatus(`The recording could not be loaded: ${error.message}`, true);
  }
}

function showCounts() {
  const total = counts.remaining + counts.labelled;
  $("progress-panel").hidden = false;
  $("progress").max = Math.max(1, total);
  $("progress").value = counts.labelled;
  $("count").textContent = `${counts.labelled} of ${total} clips labelled by you`;
}

// --- labels ---

function showLabels(newLabels) {
  labels = newLabels;
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

/** Assign a key to each label: its only character if it is one character long, else 1-9, then a-z. */
function assignKeys(allLabels) {
  if (allLabels.length > MAX_LABELS_WITH_KEYS) return new Map();
  const singles = allLabels.filter((label) => [...label].length === 1);
  const assigned = new Map(singles.map((label) => [label.toLowerCase(), label]));
  const spare = [...SPARE_KEYS].filter((key) => !assigned.has(key));
  const withKey = new Set(assigned.values());
  for (const label of allLabels) if (!withKey.has(label)) assigned.set(spare.shift(), label);
  return assigned;
}

/** The label that Enter submits: the selected ones, else the predicted one. */
function proposedLabel() {
  if (!selected.size) return queue[position].prediction.label;
  return labels.filter((label) => selected.has(label)).join(SEPARATOR);
}

function renderSelection() {
  const split = (text) => (multiLabel ? splitLabels(text) : [text]);
  $("accept").querySelector("span").textContent = proposedLabel();
  $("accept").disabled = !split(proposedLabel()).every((label) => labels.includes(label));
  for (const button of $("labels").children) {
    button.classList.toggle("predicted", split(queue[position].prediction.label).includes(button.dataset.label));
    if (multiLabel) button.setAttribute("aria-pressed", selected.has(button.dataset.label));
  }
}

/** Select or deselect a label of a multi-label clip. */
function toggleLabel(label, isNew) {
  if (!queue[position]) return;
  for (const part of splitLabels(label).map((text) => text.trim())) {
    if (isNew && !labels.includes(part)) showLabels([...labels, part]);
    if (!selected.delete(part)) selected.add(part);
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
  const typed = $("filter").value.trim(), matching = new Set(matches());
  for (const button of $("labels").children) button.hidden = !matching.has(button.dataset.label);
  $("new-label").hidden = !typed || labels.includes(typed);
  $("new-label").textContent = `New label: ${typed}`;
}

/** Submit a label, or toggle it on a multi-label clip. */
function applyLabel(label, isNew = false) {
  if (multiLabel) toggleLabel(label, isNew);
  else submitLabel(label, isNew);
}

function submitLabel(label, isNew = false) {
  if (!busy && queue[position]) pending = store(queue[position], label, isNew);
}

function undo() {
  pending = pending.then(undoLast);
}

async function store(clip, label, isNew) {
  busy = true;
  try {
    await sendFeedback($("key").value, {
      prediction_id: clip.prediction_id, label, annotator: annotator(), source: "review",
      new_label: true, // labels on this page exist already, or the annotator has added them
    });
    if (!clip.labelled) counts = { remaining: counts.remaining - 1, labelled: counts.labelled + 1 };
    clip.labelled = true;
    done.push({ clip, label });
    if (isNew) showLabels([...labels, label]);
    showCounts();
    $("undo").disabled = false;
    showStatus(`Labelled: ${label}`);
    position++;
  } catch (error) {
    return showStatus(`The label was not stored: ${error.message}`, true);
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
    position = queue.indexOf(last.clip);
    showCounts();
    $("undo").disabled = done.length === 0;
    showStatus(`Undone: ${last.label}`);
  } catch (error) {
    return showStatus(`The label was not undone: ${error.message}`, true);
  } finally {
    busy = false;
  }
  show();
}

function move(step) {
  if (busy || position + step < 0 || position >= queue.length + (step < 0)) return;
  position += step;
  showStatus("");
  show();
}

function play() {
  const player = $("player");
  if (!player.src) return;
  player.currentTime = 0;
  player.play().catch((error) => showStatus(`The recording cannot be played: ${error.message}`, true));
}

function submitTyped() {
  const typed = $("filter").value.trim();
  if (!typed) return $("accept").disabled || submitLabel(proposedLabel());
  const exact = labels.find((label) => label === typed), [first] = matches();
  if (exact ?? first) applyLabel(exact ?? first);
  else showStatus(`No label starts with ${typed}; use the button to add it.`, true);
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
  // A focused button handles Enter and Space itself; on a multi-label clip's labels, Enter submits.
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
    $("filter").focus(); // the browser then types the character into it
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
settings = await feedbackStatus();
if (settings.save_recordings === "off") showStatus(whyEmpty(), !settings.feedback);
