// The review page: one clip after another, labelled with the keyboard.
import { SEPARATOR, parts } from "./labels.js";
import { annotator, ask, authorized, feedbackStatus, sendFeedback, setAnnotator } from "./feedback.js";
import { decode, drawLogMel, drawWave } from "./sound.js";

const CLIPS_A_PAGE = 20;
// With more labels than this, a key for each would be hard to remember: their beginning is typed.
const LABELS_WITH_KEYS = 20;
const SPARE_KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
const REASONS = { disagreeing: "labels disagree", unlabelled: "nobody labelled it", agreed: "labelled once, agreeing" };
const $ = (id) => document.getElementById(id);
const done = []; // {clip, label}, the latest last: what undo takes back
let queue = []; // clips that were loaded
let at = 0; // which of them is shown
let after = ""; // where the next page begins; null at the end
let labels = [];
let keys = new Map(); // key -> label
let several = false; // whether a clip may have several labels: then they are chosen, and Enter gives them
const chosen = new Set();
let counts = { waiting: 0, labelled: 0 };
let shown = 0; // number of the clip that is shown: a slower one must not draw over it
let busy = false; // a label is under way: another key must not label the next clip unheard
let working = Promise.resolve(); // what is under way; taking back waits for it

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// --- clips ---

async function begin() {
  $("who").value = setAnnotator($("who").value);
  sessionStorage.setItem("earful.key", $("key").value);
  queue = [];
  done.length = at = 0;
  after = "";
  $("undo").disabled = true;
  say("");
  if (await load()) show();
  document.activeElement?.blur(); // keys are for the clip now
}

async function load() {
  const query = new URLSearchParams({ who: annotator(), limit: CLIPS_A_PAGE, after });
  try {
    const page = await ask(`v1/review?${query}`, { headers: authorized($("key").value) });
    const known = new Set(queue.map(({ sha256 }) => sha256));
    queue.push(...page.clips.filter(({ sha256 }) => !known.has(sha256)));
    after = page.after || null;
    several = page.scores === "sigmoid";
    if (page.labels.join("\n") !== labels.join("\n")) showLabels(page.labels);
    counts = { waiting: page.waiting, labelled: page.labelled };
    showCounts();
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

async function show() {
  if (at >= queue.length && after !== null && !(await load())) return;
  const clip = queue[at];
  $("clip").hidden = !clip;
  $("filter").value = "";
  filter();
  if (!clip) {
    $("player").pause();
    say(queue.length ? "That is all. Clips that were skipped come again at the next Begin." : "No clip is waiting for a label.");
    return;
  }
  const { heard } = clip;
  $("heard").textContent = `Heard: ${heard.label} (${(100 * heard.score).toFixed(0)} %)`;
  $("reason").textContent = REASONS[clip.reason] ?? clip.reason;
  $("reason").classList.toggle("doubt", clip.reason === "disagreeing");
  chosen.clear();
  showChosen();
  await showSound(clip);
}

async function showSound(clip) {
  const number = ++shown;
  const player = $("player");
  for (const id of ["wave", "mel"]) $(id).getContext("2d").clearRect(0, 0, $(id).width, $(id).height);
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  try {
    // Fetched, since a player cannot send the key.
    const answer = await fetch(clip.audio.slice(1), { headers: authorized($("key").value) });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    const blob = await answer.blob();
    if (number !== shown) return;
    player.src = URL.createObjectURL(blob);
    player.play().catch(() => {}); // before the first key a browser may forbid it
    const samples = await decode(await blob.arrayBuffer());
    if (number !== shown) return;
    if (samples?.length) {
      drawWave($("wave"), samples);
      drawLogMel($("mel"), samples);
    } else {
      say("This browser cannot play the recording; skip it.", true);
    }
  } catch (error) {
    if (number === shown) say(`The recording is not to be had: ${error.message}`, true);
  }
}

function showCounts() {
  const all = counts.waiting + counts.labelled;
  $("progress").max = Math.max(1, all);
  $("progress").value = counts.labelled;
  $("count").textContent = `${counts.labelled} of ${all} clips labelled by you`;
}

// --- labels ---

function showLabels(given) {
  labels = given;
  keys = keysOf(labels);
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
    button.onclick = () => name(label);
    return button;
  }));
  $("filter").placeholder = keys.size ? "or type it, for a new one" : "type its beginning, then Enter";
}

/** A key for each label: its own character where it has only one, else 1 to 9, then letters. */
function keysOf(all) {
  if (all.length > LABELS_WITH_KEYS) return new Map();
  const own = new Map(all.filter((label) => [...label].length === 1).map((label) => [label.toLowerCase(), label]));
  const spare = [...SPARE_KEYS].filter((key) => !own.has(key));
  const taken = new Set(own.values());
  for (const label of all) if (!taken.has(label)) own.set(spare.shift(), label);
  return own;
}

/** What Enter gives: the labels that were chosen, else what was heard. */
function offered() {
  return chosen.size ? labels.filter((label) => chosen.has(label)).join(SEPARATOR) : queue[at].heard.label;
}

function showChosen() {
  const all = (text) => (several ? parts(text) : [text]);
  $("accept").querySelector("span").textContent = offered();
  $("accept").disabled = !all(offered()).every((label) => labels.includes(label));
  for (const button of $("labels").children) {
    button.classList.toggle("heard", all(queue[at].heard.label).includes(button.dataset.label));
    if (several) button.setAttribute("aria-pressed", chosen.has(button.dataset.label));
  }
}

/** Choose a label among several, or take it away again. */
function choose(label, isNew) {
  if (!queue[at]) return;
  for (const one of parts(label).map((part) => part.trim())) {
    if (isNew && !labels.includes(one)) showLabels([...labels, one]);
    if (!chosen.delete(one)) chosen.add(one);
  }
  $("filter").value = "";
  filter();
  showChosen();
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
function name(label, isNew = false) {
  if (several) choose(label, isNew);
  else give(label, isNew);
}

function give(label, isNew = false) {
  if (!busy && queue[at]) working = store(queue[at], label, isNew);
}

function undo() {
  working = working.then(takeBack);
}

async function store(clip, label, isNew) {
  busy = true;
  try {
    await sendFeedback($("key").value, {
      prediction_id: clip.prediction_id, label, who: annotator(), source: "review",
      new_label: true, // each label that is offered here was given before, or is new on purpose
    });
    if (!clip.given) counts = { waiting: counts.waiting - 1, labelled: counts.labelled + 1 };
    clip.given = true;
    done.push({ clip, label });
    if (isNew) showLabels([...labels, label]);
    showCounts();
    $("undo").disabled = false;
    say(`Labelled: ${label}`);
    at++;
  } catch (error) {
    return say(`Not stored: ${error.message}`, true);
  } finally {
    busy = false;
  }
  show();
}

async function takeBack() {
  const last = done.at(-1);
  if (!last) return;
  busy = true;
  const before = done.slice(0, -1).findLast(({ clip }) => clip === last.clip)?.label ?? null;
  try {
    await sendFeedback($("key").value, {
      prediction_id: last.clip.prediction_id, label: before, who: annotator(), source: "review", new_label: true,
    });
    done.pop();
    if (before === null) {
      last.clip.given = false;
      counts = { waiting: counts.waiting + 1, labelled: counts.labelled - 1 };
    }
    at = queue.indexOf(last.clip);
    showCounts();
    $("undo").disabled = done.length === 0;
    say(`Taken back: ${last.label}`);
  } catch (error) {
    return say(`Not taken back: ${error.message}`, true);
  } finally {
    busy = false;
  }
  show();
}

function move(step) {
  if (busy || at + step < 0 || at >= queue.length + (step < 0)) return;
  at += step;
  say("");
  show();
}

function play() {
  const player = $("player");
  if (!player.src) return;
  player.currentTime = 0;
  player.play().catch((error) => say(`It cannot be played: ${error.message}`, true));
}

function enter() {
  const typed = $("filter").value.trim();
  if (!typed) return $("accept").disabled || give(offered());
  const exact = labels.find((label) => label === typed), [first] = matches();
  if (exact ?? first) name(exact ?? first);
  else say("No label begins like this; the button beside it makes a new one.", true);
}

// --- keys ---

const ACTIONS = { " ": play, Enter: enter, ArrowRight: () => move(1), ArrowLeft: () => move(-1), Backspace: undo };

document.addEventListener("keydown", (event) => {
  if ($("clip").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const inFilter = event.target === $("filter"), typed = $("filter").value !== "";
  if (event.target.closest("#begin")) return;
  if (event.key === "Escape") {
    $("filter").value = "";
    filter();
    $("filter").blur();
    return;
  }
  if (inFilter && (typed || !(event.key in ACTIONS)) && event.key !== "Enter") return;
  // A button that has the focus answers Enter and the space bar itself; one of several labels only the latter.
  if (several && event.key === "Enter" && event.target.closest("#labels")) {
    event.preventDefault();
    return enter();
  }
  if (event.target.closest("button, audio, summary, a") && (event.key === "Enter" || event.key === " ")) return;
  const action = ACTIONS[event.key];
  const label = keys.get(event.key.toLowerCase());
  if (action || label !== undefined) {
    event.preventDefault();
    if (action) action();
    else if (!event.repeat) name(label);
  } else if (event.key.length === 1 && !inFilter) {
    $("filter").focus(); // the character itself goes there
  }
});

$("filter").oninput = filter;
$("new-label").onclick = () => name($("filter").value.trim(), true);
$("accept").onclick = enter;
$("play").onclick = play;
$("back").onclick = () => move(-1);
$("skip").onclick = () => move(1);
$("undo").onclick = undo;
$("begin").onsubmit = (event) => {
  event.preventDefault();
  begin();
};
$("who").value = annotator();
$("key").value = sessionStorage.getItem("earful.key") ?? "";
const { feedback, keep_audio } = await feedbackStatus();
if (!feedback) say("This server keeps no feedback; start it with --feedback URL.", true);
else if (keep_audio === "off") say("This server keeps no recordings at present (--keep-audio); only earlier ones can be labelled.");
