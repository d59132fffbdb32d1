"""The systemd journal's native protocol: entries whose facts are fields of their own, to be asked for by name."""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

ADDRESS = "/run/systemd/journal/socket"
PATIENCE = 5.0
"""Seconds for which a journal that does not read may hold us up."""


def receives(stream: TextIO) -> bool:
    """Whether what is written to the stream ends up in the journal: systemd names its device and inode."""
    with suppress(OSError, ValueError):
        found = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


class Journal:
    """Writes entries; what the journal does not take goes to the stream, as a line with its priority in front."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(PATIENCE)

    def write(self, fields: Mapping[str, str]) -> None:
        """One entry. The names are upper case; MESSAGE and PRIORITY are among them (systemd.journal-fields(7))."""
        data = b"".join(_field(name, value) for name, value in fields.items())
        try:
            self._send(data)
        except OSError:
            # sd-daemon(3): the number says how grave the line is
            self._stream.write(f"<{fields['PRIORITY']}>{fields['MESSAGE']}\n")
            self._stream.flush()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, ADDRESS)
        except OSError as error:
            if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                raise
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        """What is too large for a datagram is a sealed file in memory, of which only the descriptor is sent."""
        file = os.memfd_create("syncd-log", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            # socket.send_fds leaves the address out
            descriptor = struct.pack("i", file)
            self._socket.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)], 0, ADDRESS)
        finally:
            os.close(file)


def _field(name: str, value: str) -> bytes:
    """A value of several lines is preceded by its length, so that no value can forge a field."""
    text = value.encode("utf-8", "backslashreplace")
    if b"\n" not in text:
        return name.encode() + b"=" + text + b"\n"
    return name.encode() + b"\n" + len(text).to_bytes(8, "little") + text + b"\n"
