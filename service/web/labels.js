// Labels of a clip: one of a list, or several to tick where the model says several at once.

export const SEPARATOR = "|"; // between the labels of one clip

/** The labels that a text names. */
export const parts = (text) => text.split(SEPARATOR);

/**
 * Fill a cell with what a person says is right: a list to choose from, or boxes to tick.
 * `onChange` is given the label, several joined, or nothing for "as heard".
 */
export function offerLabels(cell, title, labels, several, onChange) {
  const made = several ? boxes(labels, onChange) : list(labels, onChange);
  made.classList.add("right");
  made.setAttribute("aria-label", title);
  cell.replaceChildren(made);
}

function list(labels, onChange) {
  const select = document.createElement("select");
  select.append(new Option("as heard", ""), ...labels.map((label) => new Option(label, label)));
  select.onchange = () => onChange(select.value);
  return select;
}

function boxes(labels, onChange) {
  const details = document.createElement("details"), summary = document.createElement("summary");
  const ticked = () => [...details.querySelectorAll("input:checked")].map(({ value }) => value).join(SEPARATOR);
  summary.textContent = "as heard";
  details.append(summary, ...labels.map((label) => box(label)));
  details.setAttribute("role", "group");
  details.onchange = () => {
    summary.textContent = ticked() || "as heard";
    onChange(ticked());
  };
  return details;
}

function box(label) {
  const line = document.createElement("label"), input = document.createElement("input");
  input.type = "checkbox";
  input.value = label;
  line.append(input, label);
  return line;
}
