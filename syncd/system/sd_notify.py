"""Messages to the service manager over its socket, as sd_notify(3) describes; without one they go nowhere."""

import os
import socket
import time


class Notifier:
    """Tells systemd when we are ready, stopping and alive. `watchdog` is the interval in seconds at which to ping."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        usec = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(usec) / 2_000_000 if usec.isdecimal() and int(usec) and mine else None

    def send(self, **assignments: str) -> None:
        """Send assignments such as READY="1", STATUS="…". A manager that does not listen is no reason to fail."""
        if not self._address:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # a line feed would begin another assignment
        message = "\n".join(f"{key}={' '.join(value.split())}" for key, value in assignments.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0.1)  # a manager that does not read must not hold up the loop
            try:
                sender.sendto(message.encode(errors="replace"), name)
            except OSError:
                return

    def ready(self, status: str) -> None:
        """Start-up is done."""
        self.send(READY="1", STATUS=status)

    def reloading(self) -> None:
        """Settings are read anew; `ready` ends it."""
        self.send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self.send(STATUS=text)

    def stopping(self) -> None:
        """The stop has begun."""
        self.send(STOPPING="1", STATUS="stopping")

    def alive(self) -> None:
        """The loop makes progress."""
        self.send(WATCHDOG="1")
