"""FastAPI by hand: a pydantic body, a run of ONNX, one process of uvicorn. fastapi_peer.py FOLDER PORT"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(str(Path(sys.argv[1]) / "model.onnx"), options)
app = FastAPI()


class Body(BaseModel):
    instances: list[list[float]]


@app.post("/predict")
def predict(body: Body) -> dict[str, list[float]]:
    (answers,) = session.run(["probability"], {"features": np.array(body.instances, np.float32)})
    return {"predictions": answers.tolist()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
