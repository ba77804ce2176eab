#!/usr/bin/env python
"""The plain way to serve, to compare with: a minimal FastAPI app, facenet-pytorch a frame, a new window a frame.

python benchmarks/plain_service.py PORT
"""

import sys
import tempfile
from collections import deque

import cv2
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from original_mtcnn import original_mtcnn
from plain_models import PlainLSTM

FRAMES = 60
app = FastAPI()
mtcnn = original_mtcnn()
model = PlainLSTM().eval()


@app.post("/predict")
def predict(video: UploadFile) -> list[list[float]]:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(video.file.read())
        file.flush()
        source = cv2.VideoCapture(file.name)
        window, answers = deque(maxlen=FRAMES), []
        while True:
            there, bgr = source.read()
            if not there:
                return answers
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            boxes, _ = mtcnn.detect(rgb)
            if boxes is None:
                continue
            x0, y0, x1, y1 = np.maximum(boxes[0], 0).astype(int)
            window.append(torch.from_numpy(cv2.resize(rgb[y0:y1, x0:x1], (64, 64))).permute(2, 0, 1) / 255)
            if len(window) == FRAMES:
                with torch.no_grad():
                    answers.append(model(torch.stack(list(window))[None]).softmax(1)[0].tolist())


if __name__ == "__main__":
    torch.set_num_threads(1)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
