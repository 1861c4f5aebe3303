"""Message classes: one pool a file, however many threads ask for it first."""

from __future__ import annotations

import subprocess
import sys


def test_threads_that_ask_at_once_get_classes_that_fit_together():
    code = (
        "import sys, threading\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from carrara.serving.protocols.messages import message\nsys.setswitchinterval(1e-6)\n"
        "barrier = threading.Barrier(8)\n"
        "def make(number):\n    barrier.wait()\n"
        "    names = 'tensorflow.TensorProto', 'tensorflow.serving.PredictRequest'\n"
        "    return [message(name) for name in (names if number % 2 else names[::-1])]\n"
        "with ThreadPoolExecutor(8) as pool:\n    found = list(pool.map(make, range(8)))\n"
        "request = message('tensorflow.serving.PredictRequest')()\n"
        "request.inputs['x'].CopyFrom(message('tensorflow.TensorProto')(dtype=1))\nprint('fits')\n"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stdout == "fits\n", done.stderr
