// What the page of a server and that of a static site have in common: the status, and lists of files in
// their turn, their outcome, and what can be done with it.
import { downloadCsv } from "./csv.js";
import { watchFiles } from "./file_input.js";
import { record } from "./recording.js";
import { clearResults, hasTimeline, resultRows, toggle } from "./results.js";

const $ = (id) => document.getElementById(id);

export function showStatus(text, bad = false) {
  if ($("status").textContent !== text) $("status").textContent = text; // a screen reader reads every change aloud
  $("status").classList.toggle("bad", bad);
}

/**
 * `classifyNow` for a list of files after those that were given before, and after `ready`. An error of one
 * list is shown, and the next has its turn.
 */
export function inTurn(classifyNow, ready = Promise.resolve()) {
  let queue = ready;
  return (files) => {
    queue = queue.then(() => classifyNow(files)).catch((error) => {
      console.error(error); // a fault of the page: what is wrong with a file stands in the table
      const which = files.length === 1 ? files[0].name : `${files.length} files`;
      showStatus(`Cannot classify ${which}: ${error.message}`, true);
    });
    return queue;
  };
}

/** Say what became of `total` files, of which the results are `added`; open the result of a single one. */
export function showOutcome(added, total, cancelled = false) {
  const failed = added.filter(({ prediction }) => prediction.error).length;
  const files = total === 1 ? "file" : "files";
  if (cancelled) showStatus(`Cancelled: ${added.length} of ${total} ${files} classified.`);
  else if (failed) showStatus(`Errors in ${failed} of ${total} ${files}; see the table.`, true);
  else showStatus(`${total} ${files} classified.`);
  if (total === 1 && added.length && (!failed || hasTimeline(added[0].prediction))) toggle(added[0], true);
}

export function showCorrections(corrections) {
  const count = corrections.stored().length;
  $("corrections").hidden = $("delete-corrections").hidden = count === 0;
  $("corrections").textContent = `Download ${count} ${count === 1 ? "correction" : "corrections"}`;
  if (count) $("results-panel").hidden = false;
}

/** Files go to `classify`; the buttons do what they say. */
export function connect(classify, corrections) {
  watchFiles(classify);
  $("record").onclick = () => record(classify, showStatus);
  $("csv").onclick = () => downloadCsv("earful.csv", resultRows());
  $("corrections").onclick = () => corrections.download();
  $("delete-corrections").onclick = () => corrections.delete();
  $("clear").onclick = () => {
    clearResults();
    $("results-panel").hidden = corrections.stored().length === 0;
    showStatus("");
  };
  showCorrections(corrections);
}
