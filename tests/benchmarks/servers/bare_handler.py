"""A minimal FastAPI handler for the ONNX file: decode and classify on the event loop."""

import io
import os

import numpy as np
import soundfile
from fastapi import FastAPI, UploadFile

from earful.models.bundle.runtime import onnxruntime

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
)
samples = session.get_inputs()[0].shape[1]


@app.post("/v1/classify")
async def classify(file: UploadFile) -> dict[str, object]:
    waveform, _ = soundfile.read(io.BytesIO(await file.read()), dtype="float32")
    clip = np.zeros((1, samples), np.float32)
    clip[0, : len(waveform)] = waveform[:samples]
    scores = session.run(["probabilities"], {"waveform": clip})[0][0]
    return {"label": int(scores.argmax()), "score": float(scores.max())}
