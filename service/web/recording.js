// The buttons "Record" and "Listen live".
import { showName } from "./labels.js";
import { CHUNK_SECONDS, openMicrophone } from "./microphone.js";
import { writeWav } from "./wav.js";

const MAX_RECORDING_SECONDS = 30;
const MAX_EVENTS_SHOWN = 200;
const $ = (id) => document.getElementById(id);

let stopRecording = null;
let interruption = null; // the last one, {reason}

/** Start recording, or stop and pass the recording to `classify` as a list of one file. */
export async function record(classify, showStatus) {
  if (stopRecording) return stopRecording();
  const chunks = [];
  const earlier = interruption;
  let seconds = 0, microphone;
  $("record").disabled = true; // until the user has answered the permission prompt
  try {
    microphone = await openMicrophone((chunk) => {
      chunks.push(chunk);
      const shown = Math.floor(seconds);
      seconds += CHUNK_SECONDS;
      // Only once per second: a screen reader reads every change aloud.
      if (Math.floor(seconds) > shown) showStatus(`Recording: ${Math.floor(seconds)} s …`);
      if (seconds > MAX_RECORDING_SECONDS) stopRecording?.();
    }, (reason) => stopRecording?.(reason));
    if (interruption !== earlier) {
      await microphone.close();
      throw new Error(`Cannot record: ${interruption.reason}`);
    }
  } catch (error) {
    return showStatus(error.message, true);
  } finally {
    $("record").disabled = false;
  }
  setPressed("record", true, "Stop and classify");
  stopRecording = async (reason = "") => {
    stopRecording = null;
    setPressed("record", false, "Record");
    await microphone.close();
    const name = `recording-${new Date().toISOString().slice(11, 19).replaceAll(":", "")}.wav`;
    await classify([new File([writeWav(concatenate(chunks), microphone.rateHz)], name, { type: "audio/wav" })]);
    if (reason) showStatus(`The recording ended early: ${reason}`, true);
  };
}

function concatenate(chunks) {
  const samples = new Float32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    samples.set(chunk, offset);
    offset += chunk.length;
  }
  return samples;
}

let stopListening = null;

/**
 * Start streaming the microphone and show the detected events, or stop. `listen(on)` starts it and gives a
 * function that stops it, with a reason or none; it calls on.chunk(samples), on.ready(), on.result and
 * on.event with what was predicted, and on.closed(reason), perhaps before it has started.
 */
export async function listenLive(listen, showStatus) {
  if (stopListening) return stopListening();
  $("live-panel").hidden = false;
  $("events").replaceChildren();
  const canvas = $("level"), context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  $("live").disabled = true;
  const earlier = interruption;
  let closed = false;
  try {
    const stop = await listen({
      chunk: (chunk) => drawLevel(canvas, context, chunk),
      ready: () => showStatus("Listening …"),
      result: ({ label, score }) => {
        showName($("now"), label ?? "…");
        $("now-score").value = score;
      },
      event: addEvent,
      closed: (reason) => {
        closed = true;
        stopListening = null;
        setPressed("live", false, "Listen live");
        showStatus(reason ? `The stream ended: ${reason}` : "Stopped listening.", Boolean(reason));
      },
    });
    if (closed) return;
    stopListening = stop;
    setPressed("live", true, "Stop listening");
    if (interruption !== earlier) await stop(interruption.reason);
  } catch (error) {
    showStatus(error.message, true);
  } finally {
    $("live").disabled = false;
  }
}

/**
 * Stop what is listened to or recorded, or will be once the microphone opens, since the page cannot go on;
 * a recording is classified so far.
 */
export function interrupt(reason) {
  interruption = { reason };
  stopRecording?.(reason);
  stopListening?.(reason);
}

function addEvent({ label, score, start }) {
  const item = document.createElement("li"), name = document.createElement("b"), note = document.createElement("small");
  showName(name, label);
  note.textContent = ` ${(100 * score).toFixed(0)} % at ${start.toFixed(1)} s`;
  item.append(name, note);
  $("events").append(item);
  if ($("events").children.length > MAX_EVENTS_SHOWN) $("events").firstElementChild.remove();
}

/** Scroll the level meter to the left and draw the peak of a chunk at its right edge. */
function drawLevel(canvas, context, chunk) {
  let peak = 0;
  for (const x of chunk) peak = Math.max(peak, Math.abs(x));
  context.globalCompositeOperation = "copy"; // replace the old pixels, transparent ones too
  context.drawImage(canvas, -3, 0);
  context.globalCompositeOperation = "source-over";
  context.clearRect(canvas.width - 3, 0, 3, canvas.height);
  context.fillStyle = "#4fc3b8";
  const height = Math.max(1, Math.sqrt(peak) * canvas.height);
  context.fillRect(canvas.width - 2, (canvas.height - height) / 2, 2, height);
}

function setPressed(id, down, text) {
  $(id).setAttribute("aria-pressed", String(down));
  $(id).textContent = text;
}
