// Where the model listened: a map, drawn over a spectrogram.
import { TOP_HZ, toMel } from "./log_mel.js";

const SHADE = 0.82; // over the parts where the model did not listen

const METHODS = {
  activation: "Bright: what adds to the score of this label.",
  occlusion: "Bright: without it the score falls. Found by silencing each part in turn.",
};

/**
 * Draw a map of POST /v1/activation-map over a spectrogram of `seconds`: a shade over what the model
 * did not listen to, and a curve of each moment's share.
 */
export function drawActivationMap(canvas, map, seconds) {
  const g = canvas.getContext("2d");
  const { width, height } = canvas;
  const left = (map.start / seconds) * width, step = ((map.end - map.start) / seconds) * width / map.map[0].length;
  const largest = Math.max(1e-9, ...map.map.flat());
  const edges = rowEdges(map, height);
  map.map.forEach((row, r) => row.forEach((value, c) => {
    g.fillStyle = `rgb(0 0 0 / ${SHADE * (1 - Math.max(0, value) / largest)})`;
    const from = Math.floor(left + c * step), to = Math.floor(left + (c + 1) * step);
    g.fillRect(from, edges[r + 1], to - from, edges[r] - edges[r + 1]);
  }));
  g.fillStyle = `rgb(0 0 0 / ${SHADE})`;
  g.fillRect(0, 0, Math.floor(left), height);
  const right = Math.floor((map.end / seconds) * width);
  g.fillRect(right, 0, width - right, height);
  drawCurve(g, map, left, step, height);
}

/** Pixel rows from the bottom up; one row is as tall as the picture. */
function rowEdges(map, height) {
  if (!map.row_edges_hz.length) return [height, 0];
  const edges = map.row_edges_hz.map((hz) => Math.round(height * (1 - toMel(hz) / toMel(TOP_HZ))));
  edges[0] = height;
  edges[edges.length - 1] = 0;
  return edges;
}

function drawCurve(g, map, left, step, height) {
  const columns = map.map[0].map((_, c) => Math.max(0, map.map.reduce((sum, row) => sum + row[c], 0)));
  const top = Math.max(1e-9, ...columns);
  g.beginPath();
  columns.forEach((value, c) => g.lineTo(left + (c + 0.5) * step, height - 2 - (height - 8) * value / top));
  g.lineWidth = 2;
  g.strokeStyle = "#fff";
  g.stroke();
}

/** Add a button under the spectrogram of `file` that shows and hides the map that `requestMap(file)` gives. */
export function addActivationButton(canvas, file, seconds, requestMap) {
  const button = document.createElement("button"), note = document.createElement("p");
  button.type = "button";
  button.className = "where";
  button.textContent = "Where the model listened";
  button.setAttribute("aria-pressed", "false");
  note.className = "note";
  note.setAttribute("role", "status");
  canvas.parentElement.append(button, note);
  const plain = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let map = null;
  button.onclick = async () => {
    const show = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(show));
    canvas.getContext("2d").putImageData(plain, 0, 0);
    note.textContent = "";
    if (!show) return;
    button.disabled = true;
    try {
      map ??= await requestMap(file);
      drawActivationMap(canvas, map, seconds);
      note.textContent = describeMap(map);
    } catch (error) {
      button.setAttribute("aria-pressed", "false");
      note.textContent = `No map: ${error.message}`;
    }
    button.disabled = false;
    button.focus();
  };
}

export const describeMap = ({ label, score, method }) => `“${label}”, ${(100 * score).toFixed(1)} %. ${METHODS[method]}`;
