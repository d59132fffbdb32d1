"""A machine booted by a real systemd, for one test: an overlay of the host in namespaces of its own.

It sees every program and file of the host, writes to memory, and has a network without connections. It requires root,
Linux namespaces and a cgroup2 file system. However it ends, its processes are killed and its mounts end with their
namespace.
"""

import ctypes
import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

MOUNTS = """
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
# no service of the host starts here: the test starts what it needs
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires etc/systemd/system/default.target usr/sbin/policy-rc.d
rm -rf var/log/journal
: > etc/machine-id
: > etc/fstab
ln -s /lib/systemd/system/multi-user.target etc/systemd/system/default.target
for script in etc/init.d/*; do ln -sf /dev/null "etc/systemd/system/${script##*/}.service"; done
mount -t proc proc proc
# the kernel is the host's: its settings, modules and clock must not be changed
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=0755 tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p ".$2"
mount --bind "$2" ".$2"
mount -t tmpfs -o mode=0755 tmpfs dev
for node in null zero full random urandom tty; do : > dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd
mkdir before written
mount --bind "$1/upper" written
pivot_root . before
# shared again, or services do not see their folders of credentials
exec env -i container=overlay PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -ec '
    umount -l /before
    rmdir /before
    mount --make-rshared /
    exec setpriv --bounding-set -sys_module,-sys_time,-sys_rawio /lib/systemd/systemd --system'
"""

NAMESPACES = ["--mount", "--propagation", "private", "--pid", "--fork", "--cgroup", "--net", "--ipc", "--uts"]
BOOT_TIMEOUT = 120
CLONE_NEWNET = 0x40000000


class BootFailed(AssertionError):
    """The machine did not boot; the message has the end of its console, or the missing requirement."""


class SystemdMachine:
    """One machine. It is mounted in `folder`; the folder `shared` has the same path on the machine and the host."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self._folder = folder
        self._shared = shared
        self._console = folder / "console"
        self._cgroup = _cgroup_root() / f"syncd-tests-{os.getpid()}-{time.monotonic_ns()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Boot; return when systemd has reached its target. Raises BootFailed."""
        if os.geteuid() != 0:
            raise BootFailed("booting systemd requires root: run the tests as root")
        overlay = self._folder / "overlay"
        overlay.mkdir()
        self._cgroup.mkdir()
        command = [
            "setpriv", "--pdeathsig", "KILL",
            "unshare", *NAMESPACES, "--kill-child",
            "sh", "-ec", MOUNTS, "sh", str(overlay), str(self._shared),
        ]  # fmt: skip
        enter = ["sh", "-ec", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self._cgroup)]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                [*enter, *command], stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        wait_until(self._is_up, BOOT_TIMEOUT)

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise BootFailed(
                "the machine could not be started, see below; it requires root with CAP_SYS_ADMIN, namespaces, "
                f"overlay and cgroup2 file systems, and systemd:\n{self.console()}"
            )
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return False
        self._leader = int(children[0])
        if Path(f"/proc/{self._leader}/comm").read_text() != "systemd\n":
            return False
        return self.run("systemctl", "is-system-running", check=False) in {"running", "degraded"}

    def console(self) -> str:
        """Return the end of the console output."""
        return self._console.read_text(errors="replace")[-5000:]

    def run(self, *command: str, check: bool = True, stdin: str = "") -> str:
        """Run a command on the machine, as root, to its end; return its stdout.

        With `check`, raises AssertionError with the output unless the status is 0.
        """
        inside = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        result = subprocess.run(
            [*inside, *clean, *command], input=stdin, capture_output=True, text=True, errors="replace", check=False
        )
        if check and result.returncode:
            raise AssertionError(f"{' '.join(command)}: status {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout.strip()

    def changed_paths(self) -> set[str]:
        """Return every path that exists here and not on the host, and in brackets every path that was removed here."""
        lines = self.run("find", "/written", "-xdev", "-printf", "%y/%P\n").splitlines()
        removed = {f"[{line[1:]}]" for line in lines if line.startswith("c")}  # the mark of an overlay
        return removed | {line[1:] for line in lines if not os.path.lexists(line[1:])}

    def write_file(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file on the machine."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text)

    @contextmanager
    def network(self) -> Iterator[None]:
        """Move the calling thread into the machine's network: its new sockets are there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as ours, open(f"/proc/{self._leader}/ns/net", "rb") as theirs:  # noqa: PTH123 - two files of the kernel
            if libc.setns(theirs.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot enter the machine's network")
            try:
                yield
            finally:
                libc.setns(ours.fileno(), CLONE_NEWNET)

    def destroy(self) -> None:
        """Kill all processes of the machine, and remove its cgroup on the host."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)  # unshare; with it goes its child, and with that all others
            self._process.wait()
        wait_until(lambda: _remove_cgroup(self._cgroup))


def _cgroup_root() -> Path:
    """Return the mount point of the cgroup2 file system. Raises BootFailed when there is none."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_point, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(mount_point)
    raise BootFailed("the host has no cgroup2 file system, which systemd requires")


def _remove_cgroup(cgroup: Path) -> bool:
    """Remove a cgroup with all below it; return whether that was possible. Its last processes may still be ending."""
    try:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            Path(folder).rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    return not cgroup.exists()
