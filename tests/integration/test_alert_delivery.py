"""Alerts sent to a real web server and a real mail server; no error holds a secret."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.core.operations.alerts import AlertMessage, Problem
from syncd.drill.proxy import dead_port
from syncd.errors import AlertDeliveryFailed
from syncd.settings import Alerts
from syncd.system.alert_delivery import send
from tests.alert_sinks import MailSink, WebhookSink
from tests.certificate_authority import CertificateAuthority

MESSAGE = AlertMessage(
    "problem", "read:corp", Problem("corp cannot be read", "Zoë's server said no.\n.\nEnd."),
    datetime(2026, 3, 1, tzinfo=UTC),
)  # fmt: skip
SECRET = "marker-of-a-secret"


def write_secret(path: Path, text: str) -> str:
    """Write a secret file and return its path."""
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def webhook(**keys: Any) -> Alerts:
    return Alerts.model_validate({"webhook": keys})


def mail(sink: MailSink, **keys: Any) -> Alerts:
    defaults = {
        "host": "127.0.0.1",
        "port": sink.port,
        "sender": "syncd@example.com",
        "to": ["a@example.com", "b@x.org"],
    }
    return Alerts.model_validate({"mail": defaults | keys})


def test_a_webhook_gets_json_and_the_token(tmp_path: Path) -> None:
    """The request has the whole URL, the token, `text` for chats and members for programs."""
    with WebhookSink() as hook:
        send(webhook(url=hook.url, token_file=write_secret(tmp_path / "token", SECRET)), "webhook", MESSAGE)

        assert hook.paths == ["/hooks/syncd?to=team"]
        assert hook.headers[0]["Authorization"] == f"Bearer {SECRET}"
        assert hook.headers[0]["Content-Type"] == "application/json"
        (body,) = hook.received
        assert {"kind": "problem", "about": "read:corp", "since": "2026-03-01T00:00:00+00:00"}.items() <= body.items()
        assert "Zoë's server said no." in body["text"]
        assert body["host"]


def test_a_url_that_is_a_secret_stays_in_its_file(tmp_path: Path) -> None:
    """Neither its path nor its query is in an error."""
    with WebhookSink() as hook:
        hook.status = 403
        secret = write_secret(tmp_path / "url", f"{hook.url}&key={SECRET}")
        with pytest.raises(AlertDeliveryFailed) as caught:
            send(webhook(url_file=secret), "webhook", MESSAGE)

        assert hook.paths[0].endswith(SECRET)
    assert "answered 403" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "hooks" not in str(caught.value)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_only_a_2xx_is_a_success(status: int) -> None:
    """A redirection is not followed: the token is for one host."""
    with WebhookSink() as hook:
        hook.status = status
        with pytest.raises(AlertDeliveryFailed, match=f"answered {status}"):
            send(webhook(url=hook.url), "webhook", MESSAGE)

        assert len(hook.received) == 1


def test_a_refused_connection_is_a_failure() -> None:
    """The message holds the reason."""
    with pytest.raises(AlertDeliveryFailed, match="Connection refused"):
        send(webhook(url=f"http://127.0.0.1:{dead_port()}/"), "webhook", MESSAGE)


def test_a_mail_arrives() -> None:
    """With Auto-Submitted against vacation replies; a line with a single dot does not end it."""
    with MailSink() as sink:
        send(mail(sink, tls="none"), "mail", MESSAGE)

    (text,) = sink.messages
    headers, _, body = text.partition("\r\n\r\n")
    assert "Subject: syncd: corp cannot be read" in headers
    assert "From: syncd@example.com" in headers
    assert "To: a@example.com, b@x.org" in headers
    assert "Auto-Submitted: auto-generated" in headers
    assert "said no.\r\n..\r\nEnd." in body


def context(authority: CertificateAuthority) -> ssl.SSLContext:
    """Return the TLS context of a server with a certificate for localhost."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("mail", "/CN=localhost", "IP:127.0.0.1"))
    return tls


def test_a_mail_by_starttls_with_a_login(
    server_folder: Path, authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is verified before the login is sent."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MailSink(context(authority), SECRET) as sink:
        send(mail(sink, user="me", password_file=write_secret(tmp_path / "password", SECRET)), "mail", MESSAGE)

    assert (sink.logins, len(sink.messages)) == (["me"], 1)


def test_a_rejected_login_shows_no_password(
    authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the server repeats it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MailSink(context(authority), "another") as sink, pytest.raises(AlertDeliveryFailed) as caught:
        send(mail(sink, user="me", password_file=write_secret(tmp_path / "password", SECRET)), "mail", MESSAGE)

    assert "535" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("secured", [False, True])
def test_starttls_is_not_optional(authority: CertificateAuthority, secured: bool) -> None:
    """A server without it, or with an untrusted certificate, gets neither login nor mail."""
    with MailSink(context(authority) if secured else None) as sink, pytest.raises(AlertDeliveryFailed):
        send(mail(sink), "mail", MESSAGE)

    assert sink.messages == []


def test_a_rejected_mail_is_a_failure() -> None:
    """The message holds the code of the server."""
    with MailSink() as sink:
        sink.rejection = "451 later"
        with pytest.raises(AlertDeliveryFailed, match="451"):
            send(mail(sink, tls="none"), "mail", MESSAGE)
