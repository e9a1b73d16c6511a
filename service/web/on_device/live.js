// The live stream of the microphone to the model in the worker, with the callbacks of the one to a server.
import { CHUNK_SECONDS, openMicrophone } from "../microphone.js";

const MAX_BEHIND_SECONDS = 10;

/** Stream the microphone; `on` is as in `listenLive`. Returns a function that stops it, for a reason or none. */
export async function listen(engine, reject, on) {
  let behind = 0, closed = false, started = false;
  const close = async (reason = "") => {
    if (closed) return;
    closed = true;
    await microphone.close();
    await engine.ask("stop").catch(() => {}); // a worker that has failed is stopped
    engine.onLive = () => {};
    on.closed(reason);
  };
  const feed = async (chunk) => {
    if (closed) return;
    on.chunk(chunk);
    behind += 1;
    if (behind * CHUNK_SECONDS > MAX_BEHIND_SECONDS) return close("this device is too slow for this model, or busy with a file");
    await engine.ask("feed", { chunk }, { moved: [chunk.buffer] }).catch(({ message }) => close(message));
    behind -= 1;
  };
  engine.onLive = (message) => on[message.type](message);
  const early = []; // recorded before the rate was known
  const microphone = await openMicrophone((chunk) => (started ? feed(chunk) : early.push(chunk)), close);
  try {
    await engine.ask("start", { rateHz: microphone.rateHz, reject });
  } catch (error) {
    await microphone.close();
    throw new Error(`Cannot listen: ${error.message}`);
  }
  if (closed) return close; // lost, while the model was busy
  started = true;
  on.ready();
  early.forEach(feed);
  return close;
}
