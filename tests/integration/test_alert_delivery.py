"""Notices leave the house: a real web server and a real mail server take them, and no failure tells a secret."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.core.operations.alerts import Message, Problem
from syncd.drill.proxy import dead_port
from syncd.errors import NoticeFailed
from syncd.settings import Notice
from syncd.system.alert_delivery import send
from tests.alert_sinks import Hook, MailSink
from tests.certificate_authority import Authority

MESSAGE = Message(
    "problem", "read:corp", Problem("corp cannot be read", "Zoë's server said no.\n.\nEnd."),
    datetime(2026, 3, 1, tzinfo=UTC),
)  # fmt: skip
SECRET = "marker-of-a-secret"


def kept(path: Path, text: str) -> str:
    """A secret in a file."""
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def webhook(**given: Any) -> Notice:
    return Notice.model_validate({"webhook": given})


def mail(sink: MailSink, **given: Any) -> Notice:
    usual = {"host": "127.0.0.1", "port": sink.port, "sender": "syncd@example.com", "to": ["a@example.com", "b@x.org"]}
    return Notice.model_validate({"mail": usual | given})


def test_a_webhook_gets_json_and_the_token(tmp_path: Path) -> None:
    """The whole URL, query included; `text` for chats, members for machines."""
    with Hook() as hook:
        send(webhook(url=hook.url, token_file=kept(tmp_path / "token", SECRET)), "webhook", MESSAGE)

        assert hook.paths == ["/hooks/syncd?to=team"]
        assert hook.headers[0]["Authorization"] == f"Bearer {SECRET}"
        assert hook.headers[0]["Content-Type"] == "application/json"
        (got,) = hook.got
        assert {"kind": "problem", "about": "read:corp", "since": "2026-03-01T00:00:00+00:00"}.items() <= got.items()
        assert "Zoë's server said no." in got["text"]
        assert got["host"]


def test_a_url_that_is_a_secret_stays_in_its_file(tmp_path: Path) -> None:
    """It is used, and neither its path nor its query is in any failure."""
    with Hook() as hook:
        hook.status = 403
        secret = kept(tmp_path / "url", f"{hook.url}&key={SECRET}")
        with pytest.raises(NoticeFailed) as caught:
            send(webhook(url_file=secret), "webhook", MESSAGE)

        assert hook.paths[0].endswith(SECRET)
    assert "answered 403" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "hooks" not in str(caught.value)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_only_a_2xx_is_a_success(status: int) -> None:
    """A redirection is not followed: the token is for one address."""
    with Hook() as hook:
        hook.status = status
        with pytest.raises(NoticeFailed, match=f"answered {status}"):
            send(webhook(url=hook.url), "webhook", MESSAGE)

        assert len(hook.got) == 1


def test_nobody_there_is_a_failure() -> None:
    """In words."""
    with pytest.raises(NoticeFailed, match="Connection refused"):
        send(webhook(url=f"http://127.0.0.1:{dead_port()}/"), "webhook", MESSAGE)


def test_a_mail_arrives() -> None:
    """As a letter that nobody's absence answers; a line with one dot does not end it."""
    with MailSink() as sink:
        send(mail(sink, tls="none"), "mail", MESSAGE)

    (letter,) = sink.letters
    head, _, body = letter.partition("\r\n\r\n")
    assert "Subject: syncd: corp cannot be read" in head
    assert "From: syncd@example.com" in head
    assert "To: a@example.com, b@x.org" in head
    assert "Auto-Submitted: auto-generated" in head
    assert "said no.\r\n..\r\nEnd." in body


def context(authority: Authority) -> ssl.SSLContext:
    """A server's side, with a certificate for localhost."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*authority.issue("mail", "/CN=localhost", "IP:127.0.0.1"))
    return made


def test_a_mail_by_starttls_with_a_login(
    server_folder: Path, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is verified, then the login is sent."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MailSink(context(authority), SECRET) as sink:
        send(mail(sink, user="me", password_file=kept(tmp_path / "password", SECRET)), "mail", MESSAGE)

    assert (sink.logins, len(sink.letters)) == (["me"], 1)


def test_a_login_that_is_refused_tells_no_password(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when the server says it back."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MailSink(context(authority), "another") as sink, pytest.raises(NoticeFailed) as caught:
        send(mail(sink, user="me", password_file=kept(tmp_path / "password", SECRET)), "mail", MESSAGE)

    assert "535" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("secured", [False, True])
def test_starttls_is_not_optional(authority: Authority, secured: bool) -> None:
    """A server without it, and one whose certificate nobody vouches for, get neither login nor letter."""
    with MailSink(context(authority) if secured else None) as sink, pytest.raises(NoticeFailed):
        send(mail(sink), "mail", MESSAGE)

    assert sink.letters == []


def test_a_letter_that_is_refused_is_a_failure() -> None:
    """With the code of the server."""
    with MailSink() as sink:
        sink.refuse = "451 later"
        with pytest.raises(NoticeFailed, match="451"):
            send(mail(sink, tls="none"), "mail", MESSAGE)
