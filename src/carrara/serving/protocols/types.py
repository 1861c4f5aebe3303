"""The names and numbers that each protocol has for the types of tensors."""

from __future__ import annotations

from carrara.models.signature import NUMPY_TYPES
from carrara.serving.protocols.tensors import NUMBERS, STRING

TENSORFLOW_TYPES = {name: NUMBERS.get(dtype, STRING) for name, dtype in NUMPY_TYPES.items()}
"""TensorFlow's number of each type of ours; times go as texts."""

OPEN_INFERENCE_TYPES = {
    "bool": "BOOL",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
}
"""The Open Inference Protocol's name of each type of numbers; everything else is BYTES."""

BYTES = "BYTES"
