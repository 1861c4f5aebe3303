"""The trials of a model's hyper-parameters, as parallel coordinates and as a table."""

from __future__ import annotations

from carrara.core.drawings import parallel
from carrara.metadata.trials import list_trials
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, Page

_MOST = 300


def trials(desk: Desk, asked: Asked) -> Page:
    name = asked["name"]
    found = list_trials(desk.workspace.stores.metadata, model=name)
    studies = list(dict.fromkeys(trial.study for trial in found))
    study = asked.get("study") if asked.get("study") in studies else (studies[-1] if studies else None)
    chosen = [trial for trial in found if trial.study == study]
    parameters = list(dict.fromkeys(parameter for trial in chosen for parameter in trial.parameters))
    ended = [{**t.parameters, "loss": t.value} for t in chosen if t.value is not None][-_MOST:]
    rows = sorted(chosen, key=lambda t: (t.value is None, t.value or 0.0))[:_MOST]
    data = {
        "name": name,
        "study": study,
        "studies": studies,
        "trials": [
            {"number": t.number, "state": t.state, "value": t.value, "parameters": t.parameters, "ended_at": t.ended_at}
            for t in rows
        ],
        "count": len(chosen),
    }
    drawn = parallel(ended, parameters, "loss") if ended else None
    return Page("trials.html.j2", f"Trials of {name}", data, {"parameters": parameters, "drawn": drawn})
