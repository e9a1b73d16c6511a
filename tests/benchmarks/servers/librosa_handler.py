"""A common deployment: FastAPI, librosa.load, librosa MFCC, and the model."""

import io
import os

import librosa
import numpy as np
from fastapi import FastAPI, UploadFile

from earful.models.bundle.runtime import onnxruntime

app = FastAPI()
session = onnxruntime.InferenceSession(
    os.environ["BENCHMARK_MODEL"], providers=["CPUExecutionProvider"]
)
samples = session.get_inputs()[0].shape[1]


@app.post("/v1/classify")
async def classify(file: UploadFile) -> dict[str, object]:
    waveform, _ = librosa.load(io.BytesIO(await file.read()), sr=8_000)
    librosa.feature.mfcc(y=waveform, sr=8_000, n_mfcc=40)
    clip = np.zeros((1, samples), np.float32)
    clip[0, : len(waveform)] = waveform[:samples]
    scores = session.run(["probabilities"], {"waveform": clip})[0][0]
    return {"label": int(scores.argmax()), "score": float(scores.max())}
