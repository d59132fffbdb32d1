"""Notifications to the service manager over its socket (sd_notify(3)); without a socket they are discarded."""

import os
import socket
import time


class Notifier:
    """Sends the state of the daemon to systemd.

    `watchdog_interval` is half the watchdog timeout of the unit in seconds; None without a watchdog for this process.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        usec = os.environ.get("WATCHDOG_USEC", "")
        is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_interval = int(usec) / 2_000_000 if usec.isdecimal() and int(usec) and is_ours else None

    def send(self, **assignments: str) -> None:
        """Send assignments such as READY="1", STATUS="…". A manager that does not receive them is not an error."""
        if not self._address:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # a line feed would begin another assignment
        message = "\n".join(f"{key}={' '.join(value.split())}" for key, value in assignments.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0.1)  # a manager that does not read must not block the event loop
            try:
                sender.sendto(message.encode(errors="replace"), name)
            except OSError:
                return

    def ready(self, status: str) -> None:
        """Report that start-up or reload has ended."""
        self.send(READY="1", STATUS=status)

    def reloading(self) -> None:
        """Report the begin of a reload of the settings; `ready` reports its end."""
        self.send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def status(self, text: str) -> None:
        """Set the status line of `systemctl status`."""
        self.send(STATUS=text)

    def stopping(self) -> None:
        """Report the begin of the stop."""
        self.send(STOPPING="1", STATUS="stopping")

    def ping_watchdog(self) -> None:
        """Report that the daemon makes progress."""
        self.send(WATCHDOG="1")
