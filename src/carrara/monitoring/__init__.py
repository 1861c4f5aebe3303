"""Monitoring: what was predicted, what then happened, how far the data have moved, and who is told.

In: predictions on their way out, and outcomes when they become known. Out: windows, live metrics, drift, alerts.
"""

from carrara.monitoring.agreement import Agreement
from carrara.monitoring.alert import alert
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.notify.alertmanager import Alertmanager
from carrara.monitoring.notify.email import Email
from carrara.monitoring.notify.file import ToFile
from carrara.monitoring.notify.log import ToLog
from carrara.monitoring.notify.webhook import Webhook
from carrara.monitoring.sampling import Sampling

__all__ = ["Agreement", "Alertmanager", "Email", "Monitor", "Sampling", "ToFile", "ToLog", "Webhook", "alert"]
