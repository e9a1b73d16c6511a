// The live stream of the microphone to the server.
import { openMicrophone } from "./microphone.js";
import { toPcm16 } from "./wav.js";

/**
 * Stream the microphone to the server. `on` has the callbacks chunk, ready, result, event and closed.
 * Returns a function that stops it.
 */
export async function listen(key, on) {
  const chunks = []; // recorded before the server was ready
  let socket, ready = false, reason = "";
  const microphone = await openMicrophone((chunk) => {
    on.chunk(chunk);
    if (socket?.readyState === WebSocket.OPEN && ready) socket.send(toPcm16(chunk));
    else chunks.push(chunk);
  }, (lost) => {
    reason = lost;
    socket.close();
  });
  const url = new URL("v1/stream", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.onopen = () => socket.send(JSON.stringify({
    sample_rate_hz: microphone.rateHz, encoding: "pcm_s16le", ...(key ? { api_key: key } : {}),
  }));
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
