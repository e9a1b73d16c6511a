"""What a common deployment does before its network: FastAPI, librosa.load and librosa's MFCC."""

import io

import librosa
from fastapi import FastAPI, UploadFile

app = FastAPI()


@app.post("/v1/classify")
async def classify(file: UploadFile) -> dict[str, object]:
    waveform, _ = librosa.load(io.BytesIO(await file.read()), sr=8_000)
    mfcc = librosa.feature.mfcc(y=waveform, sr=8_000, n_mfcc=40)
    return {"label": int(mfcc.mean(axis=1).argmax()), "score": float(mfcc.max())}
