"""Messages to people, by webhook and by mail: plain and blocking, so the daemon has a process send each of them."""

import json
import smtplib
import socket
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from syncd.core.operations.alerts import Message
from syncd.core.operations.check import Chain, Finding
from syncd.errors import NoticeFailed
from syncd.settings import Mail, Notice, Webhook, secret

PATIENCE = 10
"""Seconds for which the other side may be silent."""
_PORTS = {"starttls": 587, "smtps": 465, "none": 25}


def send(settings: Notice, channel: str, message: Message) -> None:
    """Send a message by the channel of this name. Raises NoticeFailed; its text never holds a URL or a secret."""
    if channel == "mail" and settings.mail is not None:
        _mail(settings.mail, message)
    elif settings.webhook is not None:
        _post(settings.webhook, message)


def examine(settings: Notice) -> Iterator[Finding]:
    """Whether the host of each channel can be reached; nothing is sent, and of a URL only the host is told."""
    for channel, host, port in _hosts(settings):
        chain = Chain("notice", f"{channel} {host}:{port}", ("DNS", "TCP"))
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            yield chain.fine("DNS", f"{host} is {', '.join(dict.fromkeys(str(address[0]) for *_, address in found))}")
            socket.create_connection((host, port), PATIENCE).close()
            yield chain.fine("TCP", "connected")
        except (OSError, UnicodeError) as error:
            remedy = f"correct notice.{channel}, or look at the name service, the firewall and the host itself"
            yield from chain.broken(f"cannot connect ({error})", remedy)


def _hosts(settings: Notice) -> Iterator[tuple[str, str, int]]:
    if settings.webhook is not None:
        url = urlsplit(settings.webhook.address())
        yield "webhook", url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    if settings.mail is not None:
        yield "mail", settings.mail.host, settings.mail.port or _PORTS[settings.mail.tls]


def _post(webhook: Webhook, message: Message) -> None:
    """POST the facts as JSON. Anything but a 2xx is a failure; nothing is followed elsewhere."""
    url = urlsplit(webhook.address())
    headers = {"Content-Type": "application/json", "User-Agent": "syncd"}
    if webhook.token_file is not None:
        headers["Authorization"] = f"Bearer {secret(webhook.token_file)}"
    body = json.dumps({**message.facts(), "host": socket.gethostname()}, ensure_ascii=False).encode()
    secure = url.scheme == "https"
    connection = (HTTPSConnection if secure else HTTPConnection)(url.hostname or "", url.port, timeout=PATIENCE)
    try:
        connection.request("POST", f"{url.path or '/'}{'?' if url.query else ''}{url.query}", body, headers)
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        raise NoticeFailed(f"{url.hostname} does not take it ({_kind(error)})") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise NoticeFailed(f"{url.hostname} answered {status}; check the URL and the token of notice.webhook")


def _mail(mail: Mail, message: Message) -> None:
    """Hand the message to the mail server. STARTTLS, when it is set, is not optional."""
    letter = EmailMessage()
    letter["Subject"] = message.subject
    letter["From"] = mail.sender
    letter["To"] = ", ".join(mail.to)
    letter["Date"] = formatdate(localtime=True)
    letter["Message-ID"] = make_msgid("syncd")
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is answered to us
    letter.set_content(f"{message.text}\n-- \nsyncd on {socket.gethostname()}\n")
    try:
        with _connected(mail) as server:
            if mail.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if mail.password_file is not None:
                server.login(mail.user, secret(mail.password_file))
            server.send_message(letter)
    except (OSError, ValueError) as error:  # SMTPException is one of the former
        raise NoticeFailed(f"the mail server {mail.host} does not take it ({_kind(error)})") from None


def _connected(mail: Mail) -> smtplib.SMTP:
    port = mail.port or _PORTS[mail.tls]
    if mail.tls == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(mail.host, port, timeout=PATIENCE, context=context)
    return smtplib.SMTP(mail.host, port, timeout=PATIENCE)


def _kind(error: Exception) -> str:
    """What went wrong, in words that cannot hold what was sent."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}, code {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
