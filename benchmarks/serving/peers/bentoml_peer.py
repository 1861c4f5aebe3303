"""BentoML: a service with one API over a run of ONNX, one worker. bentoml_peer.py FOLDER PORT"""

import os
import sys
from pathlib import Path

SERVICE = """
import bentoml, numpy as np, onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1

@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Bought:
    def __init__(self):
        self.session = onnxruntime.InferenceSession("model.onnx", options)

    @bentoml.api
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self.session.run(["probability"], {"features": instances.astype(np.float32)})[0]
"""

folder = Path(sys.argv[1])
(folder / "service.py").write_text(SERVICE)
os.environ["DO_NOT_TRACK"] = os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.chdir(folder)
bentoml = Path(sys.executable).with_name("bentoml")
os.execv(bentoml, [str(bentoml), "serve", "service:Bought", "--host", "127.0.0.1", "--port", sys.argv[2]])
