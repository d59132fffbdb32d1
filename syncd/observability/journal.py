"""Native protocol of the systemd journal: entries with fields that `journalctl` can select by."""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

ADDRESS = "/run/systemd/journal/socket"
SEND_TIMEOUT = 5.0
"""Seconds after which an entry is not sent because the journal does not read."""


def is_journal(stream: TextIO) -> bool:
    """Return whether a stream leads to the journal: $JOURNAL_STREAM holds its device and inode (systemd.exec(5))."""
    with suppress(OSError, ValueError):
        status = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False


class Journal:
    """Writer of entries; an entry that cannot be sent goes to the stream, as a line with its priority in front."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SEND_TIMEOUT)

    def write(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Names are upper case, MESSAGE and PRIORITY among them (systemd.journal-fields(7))."""
        data = b"".join(_encode_field(name, value) for name, value in fields.items())
        try:
            self._send(data)
        except OSError:
            # sd-daemon(3): the number is the priority of the line
            self._stream.write(f"<{fields['PRIORITY']}>{fields['MESSAGE']}\n")
            self._stream.flush()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, ADDRESS)
        except OSError as error:
            if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        """Send an entry too large for a datagram: as the descriptor of a sealed file in memory."""
        file = os.memfd_create("syncd-log", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            # socket.send_fds takes no address
            descriptor = struct.pack("i", file)
            self._socket.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)], 0, ADDRESS)
        finally:
            os.close(file)


def _encode_field(name: str, value: str) -> bytes:
    """Encode a field; a value of several lines is preceded by its length, so that no value can forge a field."""
    text = value.encode("utf-8", "backslashreplace")
    if b"\n" not in text:
        return name.encode() + b"=" + text + b"\n"
    return name.encode() + b"\n" + len(text).to_bytes(8, "little") + text + b"\n"
