"""A task of TensorFlow's cluster that serves others, a worker or a parameter server: `python -m
carrara.training.cluster.server`, told by `TF_CONFIG` who it is."""

from __future__ import annotations

import os
import threading

from carrara.core.plugins import require
from carrara.training.cluster.spec import ClusterSpec
from carrara.training.cluster.worker import live


def serve(cluster: ClusterSpec, job: str, task: int) -> None:
    """Serve one task until the process ends."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = require("tensorflow", extra="tensorflow", purpose="a server of a cluster")
    served = {name: tasks for name, tasks in cluster.as_dict().items() if name in ("ps", "worker")}
    server = tensorflow.distribute.Server(served, job_name=job, task_index=task, protocol="grpc", start=True)
    server.join()


if __name__ == "__main__":
    threading.Thread(target=live, daemon=True).start()
    serve(*ClusterSpec.from_tf_config(os.environ["TF_CONFIG"]))
