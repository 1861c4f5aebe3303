"""Builds the server in C++: needs g++, protoc, and Debian's libgrpc++-dev and protobuf-compiler-grpc."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
PROTOS = HERE.parents[2] / "src/carrara/serving/protocols/protos"


def build(folder: Path) -> Path:
    """The server's binary in `folder`; CalledProcessError where something that it needs is not installed."""
    binary = folder / "inline"
    if binary.exists() and binary.stat().st_mtime > (HERE / "inline.cc").stat().st_mtime:
        return binary
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        "service.proto",
        "tensorflow_serving/apis/predict.proto",
        "tensorflow_serving/apis/model.proto",
        *(f"tensorflow/core/framework/{name}.proto" for name in ("types", "tensor", "tensor_shape")),
    ]
    plugin = shutil.which("grpc_cpp_plugin")
    command = ["protoc", f"-I{HERE}", f"-I{PROTOS}", f"--cpp_out={folder}", f"--plugin=protoc-gen-grpc={plugin}"]
    subprocess.run([*command, f"--grpc_out={folder}", *made], check=True, capture_output=True, text=True)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "grpc++", "protobuf"], check=True, capture_output=True)
    sources = [HERE / "inline.cc", folder / "service.grpc.pb.cc", *folder.rglob("*.pb.cc")]
    command = ["g++", "-O2", "-std=c++17", f"-I{folder}", *map(str, dict.fromkeys(sources)), "-o", str(binary)]
    subprocess.run([*command, *flags.stdout.decode().split()], check=True, capture_output=True, text=True)
    return binary
