// Files to save, CSV files among them.

/** For a table that people open: prefix a cell that a spreadsheet would run as a formula. */
export const escapeFormula = (value) => String(value ?? "").replace(/^[=+\-@\t\r]/, "'$&");

/** Offer rows of cells as a CSV file to save. */
export function downloadCsv(name, rows) {
  const text = rows.map((row) => row.map(quote).join(",")).join("\n") + "\n";
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

function quote(value) {
  const text = String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
