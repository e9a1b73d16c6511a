// Access to the microphone, and its live stream to the server.
import { toPcm16 } from "./wav.js";

export const CHUNK_SECONDS = 0.04; // as in tap.js

/** Open the microphone; `onChunk` gets Float32Arrays at `rateHz` until `close`. */
export async function openMicrophone(onChunk) {
  if (!navigator.mediaDevices) throw new Error("browsers allow it only over https or on localhost");
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  const close = async () => {
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") await context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("./tap.js", import.meta.url));
  } catch (error) {
    await close();
    throw error;
  }
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  tap.port.onmessage = ({ data }) => onChunk(data);
  context.createMediaStreamSource(stream).connect(tap);
  await context.resume();
  return {
    rateHz: context.sampleRate,
    close,
  };
}

/**
 * Stream the microphone to the server. `on` has the callbacks chunk, ready, result, event and closed.
 * Returns a function that stops it.
 */
export async function listen(key, on) {
  const chunks = []; // recorded before the server was ready
  let socket, ready = false;
  const microphone = await openMicrophone((chunk) => {
    on.chunk(chunk);
    if (socket?.readyState === WebSocket.OPEN && ready) socket.send(toPcm16(chunk));
    else chunks.push(chunk);
  });
  const url = new URL("v1/stream", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.onopen = () => socket.send(JSON.stringify({
    sample_rate_hz: microphone.rateHz, encoding: "pcm_s16le", ...(key ? { api_key: key } : {}),
  }));
  let reason = "";
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ready") {
      ready = true;
      chunks.splice(0).forEach((chunk) => socket.send(toPcm16(chunk)));
    }
    if (message.type === "error") reason = message.error.message;
    on[message.type]?.(message);
  };
  socket.onclose = async () => {
    await microphone.close();
    on.closed(reason);
  };
  return async () => {
    await microphone.close();
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "end" }));
    else socket.close();
  };
}
