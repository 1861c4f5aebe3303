"""One prediction explained: what was asked, what was read and when it became known, and what each feature added."""

from __future__ import annotations

from carrara.core.errors import NotFoundError
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, Page
from carrara.ui.pages.models import resolve_version


def show(desk: Desk, asked: Asked) -> Page:
    found, prediction = resolve_version(desk, asked), asked["prediction"]
    key = ("prediction", found.model, prediction)
    explained = desk.kept(key, 60.0, lambda: desk.workspace.monitoring.prediction(prediction, model=found.model))
    if explained.version != str(found):
        raise NotFoundError("prediction", prediction, hint=f"It was made by {explained.version}, not by {found}.")
    data = {"model": found.model, "version": found.version, "explained": explained.as_dict()}
    most = max((abs(one.contribution) for one in explained.features if one.contribution is not None), default=0.0)
    return Page("prediction.html.j2", "One prediction", data, {"most": most, "named": str(found)})
