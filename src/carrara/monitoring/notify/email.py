"""Alerts by e-mail, over SMTP."""

from __future__ import annotations

import os
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from carrara.core.errors import DefinitionError, StorageError
from carrara.monitoring.notify.base import Notification

_SECONDS = 10.0


@dataclass(frozen=True)
class Email:
    """Sends to `to` by `server`: `smtps://USER:${PASSWORD}@HOST`, or `smtp://HOST:587`, which uses TLS where there is.

    `${VARIABLES}` are read from the environment when a message is sent, and never written down.
    """

    to: tuple[str, ...]
    server: str
    sender: str = "carrara@localhost"

    kind = "e-mail"

    def __post_init__(self) -> None:
        if not self.to or urlsplit(self.server).scheme not in ("smtp", "smtps"):
            raise DefinitionError(
                f"an e-mail to {', '.join(self.to) or 'nobody'} cannot go by '{self.server}'",
                hint="Write Email(to=('team@example.org',), server='smtps://USER:${PASSWORD}@HOST').",
            )

    def spec(self) -> dict[str, Any]:
        return {"to": list(self.to), "server": self.server, "sender": self.sender}

    def send(self, notification: Notification) -> None:
        message = EmailMessage()
        message["Subject"] = f"[carrara] {notification.title}"
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message.set_content(notification.text())
        address = urlsplit(os.path.expandvars(self.server))
        host, context = address.hostname or "localhost", ssl.create_default_context()
        try:
            with _connected(host, address.port, address.scheme, context) as server:
                if address.scheme == "smtp" and server.has_extn("starttls"):
                    server.starttls(context=context)
                if address.username:
                    server.login(unquote(address.username), unquote(address.password or ""))
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise StorageError(f"the e-mail to {', '.join(self.to)} was not sent by {host}: {error}") from error


def _connected(host: str, port: int | None, scheme: str, context: ssl.SSLContext) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=_SECONDS, context=context)
    server = smtplib.SMTP(host, port or 25, timeout=_SECONDS)
    server.ehlo()
    return server
