"""MLServer: its XGBoost runtime over REST v2, one process. mlserver_peer.py FOLDER PORT"""

import json
import os
import sys
from pathlib import Path

folder, port = Path(sys.argv[1]), int(sys.argv[2])
settings = {
    "http_port": port,
    "grpc_port": port + 1,
    "metrics_port": port + 2,
    "host": "127.0.0.1",
    "parallel_workers": 0,
    "debug": False,
}
model = {
    "name": "bought",
    "implementation": "mlserver_xgboost.XGBoostModel",
    "parameters": {"uri": str(folder / "model.json")},
}
(folder / "settings.json").write_text(json.dumps(settings))
(folder / "model-settings.json").write_text(json.dumps(model))
mlserver = Path(sys.executable).with_name("mlserver")
os.execv(mlserver, [str(mlserver), "start", str(folder)])
