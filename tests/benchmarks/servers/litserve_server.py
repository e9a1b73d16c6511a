"""The same model on LitServe, with batching and one worker."""

import io
import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
import soundfile
from fastapi import Request


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - signature of LitAPI
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.samples = self.session.get_inputs()[0].shape[1]

    def decode_request(self, request: Request) -> Any:
        waveform, _ = soundfile.read(io.BytesIO(request["file"].file.read()), dtype="float32")
        clip = np.zeros(self.samples, np.float32)
        clip[: len(waveform)] = waveform[: self.samples]
        return clip

    def batch(self, clips: Any) -> Any:
        return np.stack(clips)

    def predict(self, clips: Any) -> Any:
        return self.session.run(["probabilities"], {"waveform": clips})[0]

    def unbatch(self, scores: Any) -> Any:
        return list(scores)

    def encode_response(self, scores: Any) -> Any:
        return {"label": int(scores.argmax()), "score": float(scores.max())}


if __name__ == "__main__":
    server = litserve.LitServer(
        Digits(max_batch_size=16, batch_timeout=0.001, api_path="/v1/classify"),
        accelerator="cpu",
        workers_per_device=1,
    )
    server.run(
        port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning"
    )
