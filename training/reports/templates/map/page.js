// The page around the scatter plot: colouring, filters, selection and audio.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const sounds = JSON.parse($("sounds").textContent);
const count = data.file.length;
const GRID = 10000;
const OUTLIERS_AT_ONCE = 50;
const VERDICT = { true: "correct", false: "incorrect", null: "unknown label" };
const names = data.file.map((name) => name.toLowerCase());
const state = { view: 0, colour: data.colorBy, groups: new Set(), chosen: -1, pinned: false, listed: OUTLIERS_AT_ONCE };
const points = { x: [], y: [], style: new Int16Array(count), shown: new Uint8Array(count), current: -1 };
let groups = [], groupOf = new Int32Array(count);

const plot = makePlot($("plot"), () => points, {
  hover(i, px, py) {
    showTip(i, px, py);
    if (i < 0 || i === state.chosen) return;
    if (!state.pinned) choose(i, $("sound").checked);
    else if ($("sound").checked) playClip(i);
  },
  pick(i) {
    state.pinned = i >= 0;
    if (i >= 0) choose(i, true);
  },
});

function element(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// --- colouring and filters ---

function valueOf(i) {
  if (state.colour === "error") return VERDICT[data.correct[i]];
  return data[state.colour][i] || "(none)";
}

/** Recompute the groups of the colouring; beyond STYLES groups the smallest share one mark. */
function regroup() {
  const counts = new Map();
  for (let i = 0; i < count; i++) counts.set(valueOf(i), (counts.get(valueOf(i)) ?? 0) + 1);
  const order = state.colour === "label" ? data.labels : state.colour === "error" ? ["correct", "incorrect", "unknown label"]
    : state.colour === "split" ? ["train", "val", "test"] : [...counts.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  let present = order.filter((name) => counts.has(name));
  let rest = new Set();
  if (present.length > STYLES) {
    const large = new Set([...present].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, STYLES));
    rest = new Set(present.filter((name) => !large.has(name)));
    present = present.filter((name) => large.has(name));
  }
  groups = present.map((name, n) => ({ name, style: n, size: counts.get(name) }));
  if (rest.size) groups.push({ name: `${rest.size} others`, style: -1, size: [...rest].reduce((sum, name) => sum + counts.get(name), 0) });
  const position = new Map(present.map((name, n) => [name, n]));
  for (let i = 0; i < count; i++) {
    groupOf[i] = position.get(valueOf(i)) ?? groups.length - 1;
    points.style[i] = groups[groupOf[i]].style;
  }
  state.groups.clear();
  drawLegend();
  refilter();
}

function drawLegend() {
  const all = element("button", "all", { "aria-pressed": state.groups.size === 0 });
  all.onclick = () => { state.groups.clear(); drawLegend(); refilter(); };
  $("legend").replaceChildren(all, ...groups.map((group, n) => {
    const button = element("button", undefined, { "aria-pressed": state.groups.has(n) });
    const mark = element("canvas", undefined, { width: 32, height: 32, "aria-hidden": true });
    const g = mark.getContext("2d");
    g.inkColour = ink();
    drawMark(g, group.style, 16, 16, 9);
    button.append(mark, element("span", group.name), element("small", String(group.size)));
    button.onclick = () => {
      if (!state.groups.delete(n)) state.groups.add(n);
      drawLegend();
      refilter();
      $("legend").children[n + 1].focus();
    };
    return button;
  }));
}

function refilter() {
  const wanted = $("search").value.trim().toLowerCase();
  let left = 0;
  for (let i = 0; i < count; i++) {
    const shown = (!state.groups.size || state.groups.has(groupOf[i])) && (!wanted || names[i].includes(wanted));
    points.shown[i] = shown;
    left += shown;
  }
  const view = data.views[state.view];
  const share = (part) => `${(100 * part).toFixed(1)} %`;
  $("about").textContent = (left < count ? `${left} of ${count} match. ` : "")
    + `Of the ${view.neighbours} nearest neighbours of a clip, ${share(view.purity)} have its label (${share(view.purityOnMap)} on the map).`;
  state.listed = OUTLIERS_AT_ONCE;
  listOutliers();
  plot.redraw();
}

function showView(n) {
  state.view = n;
  const view = data.views[n];
  points.x = view.x.map((x) => x / GRID);
  points.y = view.y.map((y) => y / GRID);
  [...$("views").children].forEach((button, i) => button.setAttribute("aria-pressed", i === n));
  plot.fit();
  refilter();
  if (state.chosen >= 0) describe(state.chosen);
}

// --- the selected clip ---

// A tip placed in a wide window would widen the page of a narrow one.
addEventListener("resize", () => { $("tip").hidden = true; });

function showTip(i, px, py) {
  const tip = $("tip");
  tip.hidden = i < 0;
  if (i < 0) return;
  tip.textContent = [data.label[i], data.speaker[i], data.file[i]].filter(Boolean).join(" · ");
  const width = $("plot").clientWidth;
  tip.style.left = `${Math.max(0, Math.min(px + 14, width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${py + 16}px`;
}

function choose(i, play) {
  state.chosen = points.current = i;
  describe(i);
  if (play) playClip(i);
  plot.redraw();
}

function describe(i) {
  const view = data.views[state.view];
  $("none").hidden = true;
  $("chosen").hidden = false;
  $("c-label").textContent = data.label[i];
  const wrong = data.correct && data.correct[i] === false;
  $("c-verdict").textContent = wrong ? `the model predicts ${data.predicted[i]}` : "";
  $("c-verdict").className = wrong ? "bad" : "";
  const rows = [
    ["file", data.file[i]], ["speaker", data.speaker[i]], ["split", data.split[i]], ["length", `${data.seconds[i]} s`],
    ["model", data.predicted ? `${data.predicted[i]}, ${data.score[i].toFixed(3)}` : ""],
    ["neighbours", `${view.disagreement[i] > 0 ? "suggest" : "agree:"} ${view.suggested[i]} (${view.disagreement[i].toFixed(2)})`],
    ["distance", `${view.distance[i].toFixed(2)} times the median`],
  ];
  $("facts").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  drawSpectrogram(data.spectrogram[i]);
  prepare(i);
  for (const button of document.querySelectorAll("#outliers button")) button.setAttribute("aria-current", button.clip === i);
}

/** Draw a packed spectrogram: a byte of rows, one of columns, then 4 bits per cell by column. */
function drawSpectrogram(packed) {
  const bytes = atob(packed), rows = bytes.charCodeAt(0), columns = bytes.charCodeAt(1);
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  const image = small.getContext("2d").createImageData(columns, rows);
  for (let cell = 0; cell < rows * columns; cell++) {
    const pair = bytes.charCodeAt(2 + (cell >> 1));
    const colour = shade((cell % 2 ? pair & 15 : pair >> 4) / 15);
    image.data.set([...colour, 255], 4 * ((rows - 1 - (cell % rows)) * columns + Math.floor(cell / rows)));
  }
  small.getContext("2d").putImageData(image, 0, 0);
  const canvas = $("spectrogram"), g = canvas.getContext("2d");
  g.imageSmoothingEnabled = false;
  g.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function shade(share) {
  const stops = [[8, 20, 24], [18, 72, 96], [40, 140, 130], [190, 200, 90], [255, 245, 200]];
  const at = Math.min(stops.length - 2, Math.floor(share * (stops.length - 1))), part = share * (stops.length - 1) - at;
  return stops[at].map((from, n) => Math.round(from + (stops[at + 1][n] - from) * part));
}

// --- audio ---

function prepare(i) {
  const player = $("player");
  $("silent").hidden = Boolean(sounds[i]);
  player.hidden = !sounds[i];
  $("silent").textContent = "This clip has no audio; see the notes.";
  if (!sounds[i]) { player.removeAttribute("src"); player.load(); }
  else if (player.getAttribute("src") !== sounds[i]) player.src = sounds[i];
}

async function playClip(i) {
  if (!sounds[i]) return;
  const player = i === state.chosen ? $("player") : (playClip.preview ??= new Audio());
  for (const other of [$("player"), playClip.preview]) if (other && other !== player) other.pause();
  if (player.getAttribute("src") !== sounds[i]) player.src = sounds[i];
  try {
    player.currentTime = 0;
    await player.play();
    $("gesture").hidden = true;
  } catch (error) {
    if (error.name === "NotAllowedError") $("gesture").hidden = false;
    else if (error.name === "NotSupportedError" && i === state.chosen) {
      $("silent").textContent = "The file of this clip was moved, or this browser cannot play it.";
      $("silent").hidden = false;
    }
  }
}

// --- outliers ---

function listOutliers() {
  const view = data.views[state.view], by = $("order").value, scores = view[by];
  const least = by === "disagreement" ? 0 : 1;
  const outliers = [...scores.keys()].filter((i) => points.shown[i] && scores[i] > least).sort((a, b) => scores[b] - scores[a]);
  $("order-note").textContent = by === "disagreement"
    ? `${outliers.length} clips whose neighbours have another label: wrong or ambiguous labels.`
    : "Clips far from their neighbours: noise, cut words, unusual voices.";
  $("outliers").replaceChildren(...outliers.slice(0, state.listed).map((i) => {
    const item = element("li"), button = element("button");
    button.clip = i;
    button.append(
      element("span", by === "disagreement" ? `${data.label[i]} → ${view.suggested[i]}` : data.label[i]),
      element("span", scores[i].toFixed(2)), element("small", data.file[i]));
    button.setAttribute("aria-current", i === state.chosen);
    button.onclick = () => { state.pinned = true; plot.centre(i, 3); choose(i, true); };
    item.append(button);
    return item;
  }));
  $("more").hidden = outliers.length <= state.listed;
}

// --- controls ---

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
$("plot").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (ARROWS[event.key]) {
    const next = plot.towards(state.chosen, ...ARROWS[event.key]);
    state.pinned = true;
    if (next >= 0) { choose(next, $("sound").checked); plot.reveal(next); }
  } else if (event.key === "Enter" || event.key === " ") { if (state.chosen >= 0) playClip(state.chosen); }
  else if (event.key === "+" || event.key === "=") plot.zoom(1.4);
  else if (event.key === "-") plot.zoom(1 / 1.4);
  else if (event.key === "0") plot.fit();
  else if (event.key === "Escape") deselect();
  else return;
  event.preventDefault();
});

function deselect() {
  Object.assign(state, { chosen: -1, pinned: false });
  points.current = -1;
  $("player").pause();
  $("none").hidden = false;
  $("chosen").hidden = true;
  plot.redraw();
}

$("in").onclick = () => plot.zoom(1.5);
$("out").onclick = () => plot.zoom(1 / 1.5);
$("fit").onclick = () => plot.fit();
$("more").onclick = () => { state.listed += OUTLIERS_AT_ONCE; listOutliers(); };
$("order").onchange = () => { state.listed = OUTLIERS_AT_ONCE; listOutliers(); };
$("colour").onchange = () => { state.colour = $("colour").value; regroup(); };
$("search").oninput = refilter;
$("search").onkeydown = (event) => {
  if (event.key !== "Enter") return;
  const matches = [...points.shown.keys()].filter((i) => points.shown[i]);
  if (!matches.length) return;
  const next = matches.find((i) => i > state.chosen) ?? matches[0];
  state.pinned = true;
  plot.centre(next, 2);
  choose(next, true);
};
for (const kind of ["pointerdown", "keydown"]) {
  document.addEventListener(kind, () => { $("gesture").hidden = true; }, { once: true });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawLegend);

$("by-error").disabled = !data.correct;
$("colour").value = state.colour;
data.views.forEach((view, n) => {
  const button = element("button", view.kind, { "aria-pressed": n === 0, title: `${view.source}, ${view.dimensions} dimensions` });
  button.onclick = () => showView(n);
  $("views").append(button);
});
regroup();
showView(0);
