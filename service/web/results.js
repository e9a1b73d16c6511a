// The table of results: a row for each file, which opens to its plots, scores or timeline.
import { addActivationButton } from "./activation_map.js";
import { createLabelInput, showName, sortLabels, splitLabels } from "./labels.js";
import { model } from "./shown_model.js";
import { DISPLAY_RATE_HZ, decode, drawLogMel, drawWaveform } from "./sound.js";
import { timeText } from "./timeline/time_text.js";
import { Timeline } from "./timeline/timeline.js";

const MAX_SCORES_SHOWN = 8; // more if a multi-label model predicts more
const MAX_EVENTS_NAMED = 5; // in the table; of more, the number
const CLIPS_OF_A_LONG_RECORDING = 1.5;
const $ = (id) => document.getElementById(id);
const results = []; // {file, id, prediction, row, detail, url, timeline}

/** Add a row for a file; `corrections` gets what people correct, `showStatus` what became of it. */
export function addResult(file, prediction, corrections, showStatus) {
  const row = $("row").content.cloneNode(true).querySelector("tr");
  const open = row.querySelector(".open");
  open.textContent = file.name;
  const id = `${file.name}/${file.size}/${file.lastModified}`; // a name alone is not unique
  const result = { file, id, prediction, row, corrections };
  open.onclick = () => toggle(result, open.getAttribute("aria-expanded") !== "true");
  if (prediction.error) showError(row, prediction);
  else if (hasTimeline(prediction)) showEvents(row, prediction);
  else showLabel(result, showStatus);
  results.push(result);
  $("rows").append(row);
  $("results-panel").hidden = false;
  $("count").textContent = `${results.length} ${results.length === 1 ? "result" : "results"}`;
  return result;
}

/** Whether a file has a timeline: a long recording, or a damaged one with events before the damage. */
export function hasTimeline({ events, seconds, error }) {
  if (error) return Boolean(events?.length);
  return Array.isArray(events) && seconds > CLIPS_OF_A_LONG_RECORDING * (model?.clip_seconds ?? 0);
}

function showError(row, { error, events }) {
  const reason = row.querySelector(".label"), count = events?.length ?? 0;
  reason.textContent = error.message + (count ? ` (${count} ${count === 1 ? "event" : "events"} before)` : "");
  reason.classList.add("failed");
  while (reason.nextElementSibling) reason.nextElementSibling.remove();
  reason.colSpan = 4;
}

function showEvents(row, { events, seconds }) {
  const few = 0 < events.length && events.length <= MAX_EVENTS_NAMED;
  row.querySelector(".label").textContent = few
    ? events.map(({ label }) => label).join(" · ") : `${events.length || "no"} events`;
  row.querySelector(".label").colSpan = 2;
  row.querySelector(".score").remove();
  row.querySelector(".seconds").textContent = timeText(seconds);
}

function showLabel(result, showStatus) {
  const { file, id, prediction, row, corrections } = result;
  const name = document.createElement("span");
  showName(name, prediction.label);
  row.querySelector(".label").append(name);
  row.querySelector(".score").textContent = `${(100 * prediction.score).toFixed(1)} %`;
  row.querySelector(".seconds").textContent = prediction.seconds.toFixed(2);
  const target = {
    id, name: file.name, filename: file.name, file, predicted: prediction.label,
    prediction_id: prediction.prediction_id, version: model?.version,
  };
  createLabelInput(row.querySelector(".choice"), `Correct label of ${file.name}`, labelsOf(prediction), isMultiLabel(),
    async (label) => {
      row.querySelector(".correct-label").classList.toggle("corrected", label !== "");
      const { text, bad } = await corrections.submit(target, label);
      showStatus(text, bad);
    });
}

const labelsOf = ({ scores }) => sortLabels(model?.labels ?? (scores ?? []).map(({ label }) => label));
const isMultiLabel = () => model?.score_kind === "sigmoid";

/** Show or hide what is behind a row. */
export function toggle(result, show) {
  result.row.querySelector(".open").setAttribute("aria-expanded", String(show));
  if (show) result.detail ??= createDetail(result);
  if (result.detail) result.detail.hidden = !show;
  if (!show) result.timeline?.player.stop();
}

function createDetail(result) {
  const { file, prediction, row } = result;
  result.url = URL.createObjectURL(file);
  const isTimeline = hasTimeline(prediction);
  const detail = $(isTimeline ? "long-detail" : "detail").content.cloneNode(true).querySelector("tr");
  row.after(detail);
  if (isTimeline) result.timeline = createTimeline(result, detail);
  else showClip(detail, result);
  return detail;
}

function createTimeline({ file, id, url, prediction, corrections }, detail) {
  const base = file.name.replace(/\.[^.]*$/, "");
  const target = ({ start, end, label }, cut) => ({
    id: `${id}#${start}-${end}`, name: `${timeText(start, 2)} to ${timeText(end, 2)}`,
    filename: file.name, predicted: label, start, end, version: model?.version,
    cut: cut && (async () => {
      const blob = await cut();
      return blob && new File([blob], `${base}_${start.toFixed(3)}-${end.toFixed(3)}.wav`, { type: "audio/wav" });
    }),
  });
  const { events, seconds = events.at(-1).end } = prediction; // of a damaged one up to the damage
  return new Timeline(detail.querySelector(".timeline"), {
    file, url, events, seconds,
    model: { labels: labelsOf(prediction), multiLabel: isMultiLabel(), rateHz: model?.sample_rate_hz ?? 0, requestMap: model?.requestMap },
    corrections: {
      labelOf: (event) => corrections.labelOf(target(event)),
      submit: (event, label, cut) => corrections.submit(target(event, cut), label),
    },
  });
}

function showClip(detail, { file, prediction, url }) {
  const shown = Math.max(MAX_SCORES_SHOWN, splitLabels(prediction.label ?? "").length);
  detail.querySelector(".scores").append(...(prediction.scores ?? []).slice(0, shown).map(({ label, score }) => {
    const item = document.createElement("li");
    const name = document.createElement("span"), bar = document.createElement("meter"), value = document.createElement("span");
    showName(name, label);
    bar.value = score;
    bar.setAttribute("aria-label", label);
    value.textContent = `${(100 * score).toFixed(1)} %`;
    item.append(name, bar, value);
    return item;
  }));
  detail.querySelector("audio").src = url;
  drawPlots(file, detail);
}

async function drawPlots(file, detail) {
  const samples = await decode(await file.arrayBuffer());
  if (samples?.length) {
    const wave = detail.querySelector(".wave"), mel = detail.querySelector(".mel");
    drawWaveform(wave, samples);
    drawLogMel(mel, samples);
    if (model?.requestMap) addActivationButton(mel, file, samples.length / DISPLAY_RATE_HZ, model.requestMap);
    wave.setAttribute("aria-label", `Waveform of ${file.name}`);
    mel.setAttribute("aria-label", `Log-mel spectrogram of ${file.name}`);
  } else {
    detail.querySelectorAll("figure").forEach((figure) => figure.remove());
  }
}

/** Rows of the table as a CSV. */
export const resultRows = () => [
  ["filename", "label", "score", "seconds", "error", "correct_label"],
  ...results.map(({ file, id, prediction, corrections }) => [
    file.name, prediction.label, prediction.score, prediction.seconds, prediction.error?.message, corrections.labelOf({ id }),
  ]),
];

/** Forget all results. */
export function clearResults() {
  for (const { url, timeline } of results.splice(0)) {
    timeline?.close();
    if (url) URL.revokeObjectURL(url);
  }
  $("rows").replaceChildren();
  $("count").textContent = "Results";
}
