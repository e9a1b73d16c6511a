// Files to save, CSV files among them.

// As data/text/formula_cells.py, whose readers remove the apostrophe.
const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;
const NUMBER = /^(-|[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$/i;

/** A cell with an apostrophe before what a spreadsheet would run as a formula. */
function markFormula(value) {
  const text = String(value ?? "");
  return FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
}

/** Offer rows of cells as a CSV file to save. */
export function downloadCsv(name, rows) {
  const text = rows.map((row) => row.map((cell) => quote(markFormula(cell))).join(",")).join("\n") + "\n";
  downloadText(name, text, "text/csv");
}

/** Offer a text as a file to save. */
export function downloadText(name, text, type = "text/plain") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function quote(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
