// The input for a clip's correct label: a list, or checkboxes for a multi-label model.

export const SEPARATOR = "|"; // between the labels of a multi-label clip

/** The labels of a clip, from their joined form. */
export const splitLabels = (text) => text.split(SEPARATOR);

/** Show a label of any length: where there is no room for it, its end is an ellipsis, and a tooltip has it whole. */
export function showName(element, label) {
  element.textContent = element.title = label;
  element.classList.add("name");
}

/** Labels in the order in which people look for them: 2 before 10. */
export const sortLabels = (labels) => [...labels].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));

/**
 * Fill a cell with a select, or with checkboxes if `multiLabel`; `label` is chosen already.
 * `onChange` gets the label (several joined by `SEPARATOR`), or "" when nothing is chosen.
 */
export function createLabelInput(cell, title, labels, multiLabel, onChange, label = "") {
  const input = multiLabel ? createCheckboxes(labels, onChange, label) : createSelect(labels, onChange, label);
  input.classList.add("correct-label");
  input.classList.toggle("corrected", label !== "");
  input.setAttribute("aria-label", title);
  cell.replaceChildren(input);
}

function createSelect(labels, onChange, chosen) {
  const select = document.createElement("select");
  select.append(new Option("correct?", ""), ...labels.map((label) => new Option(label, label)));
  select.value = select.title = chosen;
  select.onchange = () => {
    select.title = select.value;
    onChange(select.value);
  };
  return select;
}

function createCheckboxes(labels, onChange, chosen) {
  const details = document.createElement("details"), summary = document.createElement("summary");
  const ticked = () => [...details.querySelectorAll("input:checked")].map(({ value }) => value).join(SEPARATOR);
  const chosenLabels = chosen ? splitLabels(chosen) : [];
  details.append(summary, ...labels.map((label) => createCheckbox(label, chosenLabels.includes(label))));
  summary.textContent = ticked() || "correct?";
  details.setAttribute("role", "group");
  details.onchange = () => {
    summary.textContent = ticked() || "correct?";
    onChange(ticked());
  };
  return details;
}

function createCheckbox(label, checked) {
  const line = document.createElement("label"), input = document.createElement("input");
  input.type = "checkbox";
  input.value = label;
  input.checked = checked;
  line.append(input, label);
  return line;
}
