// What the model knows: its labels and clip length, and samples to try on it.
import { showName, sortLabels } from "./labels.js";

const MAX_LABELS_SHOWN = 24;
const DIGITS = "0 1 2 3 4 5 6 7 8 9";
// Only for models of the digits: see samples/NOTICE.
const SAMPLES = [
  { name: "digits.ogg", text: "Sixteen digits" },
  { name: "seven.ogg", text: "One digit" },
];
const $ = (id) => document.getElementById(id);

/** Show what a model knows; `classify` gets a list of the chosen sample. */
export function showKnowledge(model, classify) {
  const labels = sortLabels(model.labels);
  const clip = `${Number(model.clip_seconds.toFixed(2))} s`;
  $("knows").textContent = `Knows ${labels.length} ${labels.length === 1 ? "label" : "labels"}, in clips of ${clip}.`
    + " A longer recording gets a timeline: what was said when.";
  $("labels-known").replaceChildren(...labels.slice(0, MAX_LABELS_SHOWN).map((label) => item(label)));
  if (labels.length > MAX_LABELS_SHOWN) {
    const more = document.createElement("details"), summary = document.createElement("summary");
    summary.textContent = `and ${labels.length - MAX_LABELS_SHOWN} more`;
    more.append(summary, labels.slice(MAX_LABELS_SHOWN).join(", "));
    const last = item("");
    last.append(more);
    $("labels-known").append(last);
  }
  $("samples").hidden = labels.join(" ") !== DIGITS;
  $("samples").querySelectorAll("button").forEach((button) => button.remove());
  $("samples").append(...SAMPLES.map(({ name, text }) => sampleButton(name, text, classify)));
  $("knowledge").hidden = false;
}

function item(label) {
  const element = document.createElement("li");
  if (label) showName(element, label);
  return element;
}

function sampleButton(name, text, classify) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = async () => {
    button.disabled = true;
    try {
      const response = await fetch(`web/samples/${name}`);
      await classify([new File([await response.blob()], name, { type: "audio/ogg" })]);
    } finally {
      button.disabled = false;
    }
  };
  return button;
}
