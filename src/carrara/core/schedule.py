"""Schedules: cron expressions, as Debian's cron reads them, and their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from carrara.core.errors import DefinitionError

_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_ZONE = "CRON_TZ="


@dataclass(frozen=True)
class Schedule:
    """Moments that come again: `@daily`, or five fields of cron, in UTC or in the zone of `CRON_TZ=… `.

    >>> schedule = Schedule.of("CRON_TZ=America/New_York 30 1 * * MON-FRI")
    >>> schedule.after(datetime(2024, 1, 5, 12, tzinfo=UTC)).isoformat()
    '2024-01-08T06:30:00+00:00'
    """

    expression: str
    zone: ZoneInfo

    @classmethod
    def of(cls, text: str) -> Schedule:
        """Raises DefinitionError for what is no schedule."""
        zone, expression = "UTC", _NAMES.get(text.strip(), text.strip())
        if expression.startswith(_ZONE):
            zone, _, expression = expression.removeprefix(_ZONE).partition(" ")
        try:
            schedule = cls(_NAMES.get(expression, expression), ZoneInfo(zone))
            schedule.after(datetime(2024, 1, 1, tzinfo=UTC))
        except (CronSimError, StopIteration, KeyError, ValueError) as error:
            raise DefinitionError(
                f"'{text}' is not a schedule: {error or type(error).__name__}",
                hint="Write @hourly, @daily, @weekly, @monthly, or five fields of cron, e.g. 30 3 * * *.",
            ) from None
        return schedule

    def after(self, moment: datetime) -> datetime:
        """The first of its moments after this one."""
        found: datetime = next(CronSim(self.expression, moment.astimezone(self.zone)))
        return found.astimezone(UTC)

    def until(self, moment: datetime) -> datetime:
        """The last of its moments that is not after this one."""
        later = self.after(moment).astimezone(self.zone)
        found: datetime = next(CronSim(self.expression, later, reverse=True))
        return found.astimezone(UTC)

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Its moments after one and not after another."""
        moment = self.after(after)
        while moment <= until:
            yield moment
            moment = self.after(moment)
