"""Alerts as a user declares them: a rule of a window, for how many windows it has to hold, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from carrara.core.errors import DefinitionError, did_you_mean
from carrara.monitoring.rule import check_rule

Severity = Literal["info", "warning", "critical"]
Then = Literal["", "retrain", "rollback", "promote"]


@dataclass(frozen=True)
class Alert:
    """See `alert`."""

    rule: str
    for_windows: int = 1
    severity: Severity = "warning"
    then: Then = ""
    description: str = ""

    def __post_init__(self) -> None:
        check_rule(self.rule)
        if self.for_windows < 1:
            raise DefinitionError(f"the alert '{self.rule}' is to hold for {self.for_windows} windows", hint="Write 1.")
        for value, known in ((self.severity, Severity), (self.then, Then)):
            if value not in get_args(known):
                names = [name for name in get_args(known) if name]
                hint = did_you_mean(value, names) or f"Write one of: {', '.join(names)}."
                raise DefinitionError(f"the alert '{self.rule}' says '{value}'", hint=hint)

    def spec(self) -> dict[str, Any]:
        return dict(vars(self))


def alert(
    rule: str,
    *,
    for_windows: int = 1,
    severity: Severity = "warning",
    then: Then = "",
    description: str = "",
) -> Alert:
    """An alert that fires when `rule` holds for `for_windows` windows one after the other.

    `then` is done once when it fires: `retrain` the model, `rollback` to what its endpoint served before, or `promote`
    the version to its endpoint.

    >>> alert("psi('weather:temp') > 0.2 and effect > 0.1", for_windows=3).for_windows
    3
    """
    return Alert(rule, for_windows, severity, then, description)


DEFAULT_ALERTS = (
    Alert("worse > 0", severity="critical", description="Live quality is worse than the evaluation's."),
    Alert("effect > 0.2", description="A feature has moved so far that it changes what the model says."),
    Alert("score_psi > 0.25", description="What the model says is distributed otherwise than in its evaluation."),
    Alert("missing > 0.1", description="A feature is missing more often than in training."),
    Alert("parity > 0.02", severity="critical", description="Online features are not those that training would see."),
    Alert("lost > 0", description="Predictions were answered and not logged."),
)
"""What a model is watched for that has no monitor of its own."""
