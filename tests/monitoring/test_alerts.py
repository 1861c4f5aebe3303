"""Alerts: rules that know what they do not know, one alert and not hundreds, told at least once (M52, M56)."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from served import log_trips, trips_between

from carrara.core.errors import DefinitionError, StorageError
from carrara.core.outbound import _is_public, check_url, post
from carrara.monitoring.alert import alert
from carrara.monitoring.alerting import Judged, standing
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.notify.alertmanager import Alertmanager
from carrara.monitoring.notify.email import Email
from carrara.monitoring.notify.file import ToFile
from carrara.monitoring.notify.webhook import Webhook
from carrara.monitoring.rule import Facts, check_rule, evaluate_rule
from carrara.monitoring.run import run_monitor
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def facts(psi: float = 0.1, roc_auc: float | None = None) -> Facts:
    metrics = (
        None if roc_auc is None else {"roc_auc": {"value": roc_auc, "low": roc_auc - 0.01, "high": roc_auc + 0.01}}
    )
    one = {"feature": "a:b", "psi": psi, "by_chance": 0.01, "effect": 0.2, "effect_deviations": 1.5}
    one |= {"null_share_actual": 0.3, "null_share_expected": 0.1, "out_of_range": None, "psi_last": None}
    return Facts(
        {
            "predictions": 100,
            "outcomes": 0 if metrics is None else 100,
            "metrics": metrics,
            "evaluation": {"roc_auc": {"value": 0.8}},
            "worse": [],
            "drift": [one, {**one, "feature": "a:c", "psi": psi / 2}],
            "score_drift": {"psi": 0.0, "psi_last": None},
            "multivariate": None,
            "parity": None,
            "latency_seconds": None,
            "estimated": {"roc_auc": {"value": 0.7, "low": 0.6, "high": 0.75}},
            "estimated_worse": ["roc_auc"],
            "freshness": {"a": {"p95": 60.0}},
            "slices": [],
        }
    )


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("psi('a:b') > 0.25", True),
        ("psi > 0.25 and predictions >= 100", True),
        ("psi('a:c') > 0.25", False),
        ("psi('no:where') > 0.25", None),
        ("roc_auc < 0.7", None),
        ("roc_auc < 0.7 or psi > 0.25", True),
        ("roc_auc < 0.7 and psi > 1", False),
        ("not (psi > 1)", True),
        ("estimated('roc_auc') < evaluation('roc_auc') - 0.05", True),
        ("estimated_worse > 0", True),
        ("missing > 0.19", True),
        ("age('a') > 30", True),
        ("0.1 < psi < 0.5", True),
        ("psi / 0 > 1", None),
        ("-effect < -1", True),
    ],
)
def test_a_rule_holds_does_not_or_is_not_known(rule, holds):
    check_rule(rule)
    assert evaluate_rule(rule, facts(psi=0.3)) is holds


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("pssi > 1", "Did you mean 'psi'"),
        ("psi(1) > 1", "rules do not have"),
        ("__import__('os').system('x')", "rules do not have"),
        ("low('roc_ac') > 1", "Did you mean 'roc_auc'"),
        ("psi >", "is not a rule"),
        ("[x for x in psi]", "rules do not have"),
    ],
)
def test_a_wrong_rule_is_an_error_of_the_definition(rule, says):
    with pytest.raises(DefinitionError, match=says):
        alert(rule)


def test_windows_that_do_not_know_are_passed_over_and_never_count_as_good():
    windows = [Judged(FROM + n * DAY, FROM + (n + 1) * DAY, facts(roc_auc=v)) for n, v in enumerate((0.6, 0.6, None))]
    rule = alert("roc_auc < 0.7", for_windows=2)
    assert standing(rule, windows).state == "firing"
    assert standing(rule, windows[2:]).state == "unknown"
    assert standing(rule, windows[:1]).state == "pending"


MONITOR = Monitor(
    "late",
    alerts=(alert("missing > 0.5", for_windows=2, severity="critical"), alert("predictions < 1"), alert("effect > 99")),
    notify=(ToFile("alerts.jsonl"),),
)


@pytest.fixture(scope="module")
def _shifted_folder(_trained_folder, tmp_path_factory):
    """Four good days and three on which features are missing, whose windows were computed once after six."""
    folder = tmp_path_factory.mktemp("shifted") / "ws"
    shutil.copytree(_trained_folder, folder)
    gone = {name: pl.lit(None, pl.Float64) for name in ("trip:loaded_km", "depot_state:load", "driver_trips:count_6h")}
    with Workspace(folder, clock=lambda: FROM + 6 * DAY) as made:
        log_trips(made, trips_between(made, FROM, FROM + 4 * DAY))
        log_trips(made, trips_between(made, FROM + 4 * DAY, FROM + 7 * DAY), changed=gone)
        run_monitor(made.stores, MONITOR, made.models.get("late"), alerts=False)
    return folder


@pytest.fixture
def shifted(_shifted_folder, tmp_path):
    """A workspace of one's own with those predictions, of whose alerts nobody knows yet."""
    shutil.copytree(_shifted_folder, tmp_path / "shifted")
    with Workspace(tmp_path / "shifted") as workspace:
        yield workspace


def run_at(workspace: Workspace, moment: datetime, monitor: Monitor = MONITOR) -> list[str]:
    with Workspace(workspace.root, clock=lambda: moment) as now:
        return [a.rule for a, _ in run_monitor(now.stores, monitor, now.models.get("late")).begun]


def told(workspace: Workspace) -> list[dict]:
    path = workspace.root / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_an_alert_is_pending_then_fires_once_then_is_resolved(shifted):
    assert run_at(shifted, FROM + 4 * DAY) == []
    assert run_at(shifted, FROM + 5 * DAY) == []
    (pending,) = shifted.monitoring.alerts("late", open_only=True)
    assert (pending.state, pending.windows, told(shifted)) == ("pending", 1, [])
    assert run_at(shifted, FROM + 6 * DAY) == ["missing > 0.5"]
    for _ in range(3):
        assert run_at(shifted, FROM + 7 * DAY) == []
    (message,) = told(shifted)
    (one,) = message["alerts"]
    assert (one["state"], one["severity"]) == ("firing", "critical")
    assert set(one["details"]["features"]) >= {"trip:loaded_km"}
    assert one["window_end"].startswith("2024-01-28")
    log_trips(shifted, trips_between(shifted, FROM + 7 * DAY, FROM + 8 * DAY))
    run_at(shifted, FROM + 8 * DAY)
    assert [entry["alerts"][0]["state"] for entry in told(shifted)] == ["firing", "resolved"]


def test_a_silenced_alert_changes_its_state_and_is_not_told(shifted):
    with Workspace(shifted.root, clock=lambda: FROM + 6 * DAY) as now:
        now.monitoring.silence("late", DAY, reason="a move of the depots")
    assert run_at(shifted, FROM + 6 * DAY) == ["missing > 0.5"]
    assert told(shifted) == []


def test_what_a_notifier_did_not_take_is_told_again_to_it_alone(shifted):
    """One alert is one message, however long another notifier is down."""
    (shifted.root / "away").mkdir()
    both = replace(MONITOR, notify=(ToFile("away"), *MONITOR.notify))
    for _ in range(3):
        run_at(shifted, FROM + 6 * DAY, both)
    assert len(told(shifted)) == 1
    (shifted.root / "away").rmdir()
    for _ in range(2):
        run_at(shifted, FROM + 6 * DAY, both)
    assert len(told(shifted)) == 1
    assert len((shifted.root / "away").read_text().splitlines()) == 1


def test_a_dry_run_says_what_would_fire_and_leaves_no_trace(shifted):
    definitions = shifted.root / "definitions.py"
    rules = 'carrara.alert("missing > 0.5", for_windows=2, then="retrain")'
    definitions.write_text(definitions.read_text() + f'\nwatch = carrara.Monitor("late", alerts=({rules},))\n')
    with Workspace(shifted.root, clock=lambda: FROM + 7 * DAY) as now:
        now.monitoring.measure("late", window="1d")
        (one,) = now.monitoring.would_fire("late")
        assert (one.state, one.alert.then) == ("firing", "retrain")
        assert now.monitoring.alerts() == []
        (done,) = now.monitoring.run("late")
        assert done.followed[0].did == "late@1 is up to date"
        (why,) = now.runs("train")[0].parameters["why"]
        assert why.startswith("the alert 'missing > 0.5' of late@1, window to 2024-01-29 00:00: ")
        (done,) = now.monitoring.run("late")
        assert done.followed == ()


def test_a_rollback_serves_what_was_served_before(shifted):
    shifted.train("late")
    definitions = shifted.root / "definitions.py"
    source = definitions.read_text().replace("depth=3", "depth=2")
    definitions.write_text(
        source + '\nw = carrara.Monitor("late", alerts=(carrara.alert("missing > 0.5", then="rollback"),))\n'
    )
    with Workspace(shifted.root, clock=lambda: FROM + 9 * DAY) as now:
        now.train("late")
        now.deploy("late@2")
        gone = {"trip:loaded_km": pl.lit(None, pl.Float64), "depot_state:load": pl.lit(None, pl.Float64)}
        log_trips(now, trips_between(now, FROM + 7 * DAY, FROM + 8 * DAY), version=2, changed=gone)
        (done,) = now.monitoring.run("late")
        assert [f.did for f in done.followed] == ["late serves late@1 again"]
        assert [(d.endpoint, d.version) for d in now.deployments()] == [("late", 1)]


class _Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def taker():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    server.bodies, server.status = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_webhooks_and_alertmanager_get_the_alert_in_their_form(shifted, taker):
    address = f"http://127.0.0.1:{taker.server_port}"
    with (shifted.root / "carrara.toml").open("a") as file:
        file.write('[ui]\nurl = "https://carrara.example.org/"\n')
    both = replace(MONITOR, notify=(Webhook(f"{address}/hook?k=1", private=True), Alertmanager(address)))
    run_at(shifted, FROM + 6 * DAY, both)
    (path, hook), (other, posted) = taker.bodies
    assert path == "/hook?k=1"
    assert json.loads(hook)["title"] == "late@1: 1 firing"
    assert json.loads(hook)["url"] == "https://carrara.example.org/monitoring/late/1"
    assert other == "/api/v2/alerts"
    (one,) = json.loads(posted)
    assert one["labels"]["alertname"] == "missing > 0.5"
    assert one["generatorURL"] == "https://carrara.example.org/monitoring/late/1"
    assert "endsAt" not in one


def test_private_addresses_are_refused_unless_they_are_meant(taker):
    address = f"http://localhost:{taker.server_port}/"
    with pytest.raises(StorageError, match="private network"):
        post(address, b"{}")
    post(address, b"{}", private=True)
    assert len(taker.bodies) == 1
    for wrong in ("169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "100.64.0.1", "fe80::1%eth0", "0.0.0.0"):
        assert not _is_public(wrong)
    assert _is_public("93.184.216.34")


def test_a_redirect_is_not_followed_and_no_success(taker):
    taker.status = 302
    with pytest.raises(StorageError, match="302"):
        post(f"http://127.0.0.1:{taker.server_port}/", b"{}", private=True)
    assert len(taker.bodies) == 1


def test_a_webhook_that_hangs_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dribble() -> None:
            connection, _ = server.accept()
            for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1_000:
                try:
                    connection.send(bytes([byte]))
                    time.sleep(0.05)
                except OSError:
                    return

        threading.Thread(target=dribble, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(StorageError):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", private=True, seconds=0.5)
        assert time.monotonic() - began < 3


def test_an_email_is_sent_and_its_password_is_never_written_down(shifted, monkeypatch):
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def smtp() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as lines:
                lines.write(b"220 test\r\n")
                lines.flush()
                data = False
                for line in lines:
                    received.append(line)
                    if data and line != b".\r\n":
                        continue
                    data = line.upper().startswith(b"DATA")
                    answer = b"354 go\r\n" if data else b"221 bye\r\n" if line.startswith(b"quit") else b"250 ok\r\n"
                    lines.write(answer)
                    lines.flush()

        threading.Thread(target=smtp, daemon=True).start()
        monkeypatch.setenv("MAIL", f"127.0.0.1:{server.getsockname()[1]}")
        mail = Email(to=("team@example.org",), server="smtp://${MAIL}")
        assert mail.spec()["server"] == "smtp://${MAIL}"
        run_at(shifted, FROM + 6 * DAY, replace(MONITOR, notify=(mail,)))
    text = b"".join(received).decode()
    assert "Subject: [carrara] late@1: 1 firing" in text
    assert "FIRING missing > 0.5" in text
    assert "carrara monitor show late@1" in text


def test_addresses_that_are_none_are_errors_of_the_definition():
    for wrong in ("ftp://x/", "file:///etc/passwd", "https://", "http://x/#f"):
        with pytest.raises(DefinitionError):
            check_url(wrong)
    with pytest.raises(DefinitionError):
        Email(to=(), server="smtp://x")
