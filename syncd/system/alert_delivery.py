"""Delivery of alerts by webhook and mail: blocking, so the daemon sends each alert in a worker process."""

import json
import smtplib
import socket
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from syncd.core.operations.alerts import AlertMessage
from syncd.core.operations.check import Chain, Finding
from syncd.errors import AlertDeliveryFailed
from syncd.settings import Alerts, Mail, Webhook, read_secret

TIMEOUT = 10
"""Seconds for a connection, and for each answer of the server."""
_PORTS = {"starttls": 587, "smtps": 465, "none": 25}


def send(settings: Alerts, channel: str, message: AlertMessage) -> None:
    """Send a message by a channel, "mail" or "webhook".

    Raises AlertDeliveryFailed, whose text never holds a URL or a secret; SettingsError for an unreadable secret.
    """
    if channel == "mail" and settings.mail is not None:
        _send_mail(settings.mail, message)
    elif settings.webhook is not None:
        _post_webhook(settings.webhook, message)


def check_hosts(settings: Alerts) -> Iterator[Finding]:
    """Check that the host of each channel can be reached. Nothing is sent; findings hold only the host of a URL."""
    for channel, host, port in _list_hosts(settings):
        chain = Chain("alerts", f"{channel} {host}:{port}", ("DNS", "TCP"))
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            yield chain.ok("DNS", f"{host} is {', '.join(dict.fromkeys(str(address[0]) for *_, address in addresses))}")
            socket.create_connection((host, port), TIMEOUT).close()
            yield chain.ok("TCP", "connected")
        except (OSError, UnicodeError) as error:
            remedy = f"correct alerts.{channel}, or look at the name service, the firewall and the host itself"
            yield from chain.fail(f"cannot connect ({error})", remedy)


def _list_hosts(settings: Alerts) -> Iterator[tuple[str, str, int]]:
    if settings.webhook is not None:
        url = urlsplit(settings.webhook.address())
        yield "webhook", url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    if settings.mail is not None:
        yield "mail", settings.mail.host, settings.mail.port or _PORTS[settings.mail.tls]


def _post_webhook(webhook: Webhook, message: AlertMessage) -> None:
    """POST the message as JSON. Any status but 2xx is a failure; redirections are not followed."""
    url = urlsplit(webhook.address())
    headers = {"Content-Type": "application/json", "User-Agent": "syncd"}
    if webhook.token_file is not None:
        headers["Authorization"] = f"Bearer {read_secret(webhook.token_file)}"
    body = json.dumps({**message.to_json(), "host": socket.gethostname()}, ensure_ascii=False).encode()
    secure = url.scheme == "https"
    connection = (HTTPSConnection if secure else HTTPConnection)(url.hostname or "", url.port, timeout=TIMEOUT)
    try:
        connection.request("POST", f"{url.path or '/'}{'?' if url.query else ''}{url.query}", body, headers)
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        raise AlertDeliveryFailed(f"{url.hostname} does not accept the alert ({_error_kind(error)})") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise AlertDeliveryFailed(f"{url.hostname} answered {status}; check the URL and the token of alerts.webhook")


def _send_mail(mail: Mail, message: AlertMessage) -> None:
    """Send the message to the mail server. STARTTLS is required if it is set."""
    mail_message = EmailMessage()
    mail_message["Subject"] = message.subject
    mail_message["From"] = mail.sender
    mail_message["To"] = ", ".join(mail.to)
    mail_message["Date"] = formatdate(localtime=True)
    mail_message["Message-ID"] = make_msgid("syncd")
    mail_message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies
    mail_message.set_content(f"{message.text}\n-- \nsyncd on {socket.gethostname()}\n")
    try:
        with _connect(mail) as server:
            if mail.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if mail.password_file is not None:
                server.login(mail.user, read_secret(mail.password_file))
            server.send_message(mail_message)
    except (OSError, ValueError) as error:  # SMTPException is an OSError
        raise AlertDeliveryFailed(
            f"the mail server {mail.host} does not accept the alert ({_error_kind(error)})"
        ) from None


def _connect(mail: Mail) -> smtplib.SMTP:
    port = mail.port or _PORTS[mail.tls]
    if mail.tls == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(mail.host, port, timeout=TIMEOUT, context=context)
    return smtplib.SMTP(mail.host, port, timeout=TIMEOUT)


def _error_kind(error: Exception) -> str:
    """Describe an error in words that cannot hold anything that was sent."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}, code {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
