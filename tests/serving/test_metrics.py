"""What processes of one server count is told as one sum, which never gets less."""

from __future__ import annotations

from carrara.serving.counts import Call
from carrara.serving.metrics import Metrics

ASKED = Call("m", "Predict", "GRPC")
NAME = 'carrara_serving_requests_total{model="m",method="Predict",protocol="GRPC",code="OK"}'


def told(metrics: Metrics) -> dict[str, str]:
    lines = metrics.exposition().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_each_process_tells_the_sum_of_all_and_of_those_that_have_ended(tmp_path):
    first, second = Metrics(tmp_path), Metrics(tmp_path)
    first.answered({ASKED: 3}, 0.5)
    first.ran("m", "Predict", 4, 0.25, 3)
    first.close()
    second.answered({ASKED: 2, Call("other", "Predict", "REST", 8): 1}, 0.001)
    for _ in range(2):
        assert told(second)[NAME] == "5"
    found = told(second)
    assert found['carrara_serving_request_duration_seconds_sum{model="m",method="Predict",protocol="GRPC"}'] == "1.502"
    assert found['carrara_serving_run_rows_count{model="m"}'] == "1"
    assert found[':tensorflow:serving:request_count{model_name="other",status="RESOURCE_EXHAUSTED"}'] == "1"
    third = Metrics(tmp_path)
    assert told(third)[NAME] == "5"
    second.close()
    third.close()


def test_what_one_has_told_another_tells_as_well_though_the_first_is_killed(tmp_path):
    """A counter that went back would be taken for a new one, and all of it for a sudden flood."""
    killed, other = Metrics(tmp_path), Metrics(tmp_path)
    seen = []
    for count in range(1, 20):
        killed.answered({ASKED: count}, 0.001)
        seen.append(int(told(killed)[NAME]))
        seen.append(int(told(other)[NAME]))
    assert seen == sorted(seen)
    assert seen[-1] == seen[-2] == sum(range(1, 20))
    killed.close()
    other.close()


def test_a_server_alone_keeps_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metrics = Metrics()
    metrics.answered({ASKED: 1}, 0.001)
    assert told(metrics)[NAME] == "1"
    metrics.close()
    assert list(tmp_path.iterdir()) == []
