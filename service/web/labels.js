// The input for a clip's correct label: a list, or checkboxes for a multi-label model.

export const SEPARATOR = "|"; // between the labels of a multi-label clip

/** The labels of a clip, from their joined form. */
export const splitLabels = (text) => text.split(SEPARATOR);

/**
 * Fill a cell with a select, or with checkboxes if `multiLabel`.
 * `onChange` gets the label (several joined by `SEPARATOR`), or "" when nothing is chosen.
 */
export function createLabelInput(cell, title, labels, multiLabel, onChange) {
  const input = multiLabel ? createCheckboxes(labels, onChange) : createSelect(labels, onChange);
  input.classList.add("correct-label");
  input.setAttribute("aria-label", title);
  cell.replaceChildren(input);
}

function createSelect(labels, onChange) {
  const select = document.createElement("select");
  select.append(new Option("correct?", ""), ...labels.map((label) => new Option(label, label)));
  select.onchange = () => onChange(select.value);
  return select;
}

function createCheckboxes(labels, onChange) {
  const details = document.createElement("details"), summary = document.createElement("summary");
  const ticked = () => [...details.querySelectorAll("input:checked")].map(({ value }) => value).join(SEPARATOR);
  summary.textContent = "correct?";
  details.append(summary, ...labels.map((label) => createCheckbox(label)));
  details.setAttribute("role", "group");
  details.onchange = () => {
    summary.textContent = ticked() || "correct?";
    onChange(ticked());
  };
  return details;
}

function createCheckbox(label) {
  const line = document.createElement("label"), input = document.createElement("input");
  input.type = "checkbox";
  input.value = label;
  line.append(input, label);
  return line;
}
