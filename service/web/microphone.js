// Access to the microphone.

export const CHUNK_SECONDS = 0.04; // as in tap.js
const MICROPHONE_LOST = "the microphone was unplugged, or its permission was taken back";

const PROBLEMS = {
  NotAllowedError: "permission was denied; allow it in the browser's settings of this site",
  NotFoundError: "none was found; plug one in",
  NotReadableError: "another program uses it; close that one",
};

/**
 * Open the microphone; `onChunk` gets Float32Arrays at `rateHz` until `close`. `onLost` gets a
 * reason when it is unplugged or the permission is taken back. Throws an Error for the user.
 */
export async function openMicrophone(onChunk, onLost) {
  try {
    return await open(onChunk, onLost);
  } catch (error) {
    throw new Error(`Cannot use the microphone: ${error.message}`);
  }
}

async function open(onChunk, onLost) {
  if (!navigator.mediaDevices) throw new Error("browsers allow it only over https or on localhost");
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  }).catch((error) => { throw new Error(PROBLEMS[error.name] ?? error.message); });
  const [track] = stream.getAudioTracks();
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
  if (track.readyState === "ended") {
    await close();
    throw new Error(MICROPHONE_LOST);
  }
  track.onended = () => onLost(MICROPHONE_LOST);
  return {
    rateHz: context.sampleRate,
    close,
  };
}
