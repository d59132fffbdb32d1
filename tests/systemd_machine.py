"""A machine of one test's own, booted by a real systemd: an overlay of the running one, in namespaces of its own.

It sees every program and file of the running machine, writes to memory, and has a network that leads nowhere. It needs
root, Linux namespaces and a cgroup2 file system. When it ends, however it ends, its processes are killed and its mounts
are gone with their namespace.
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

from tests.scripted_ldap import wait_until

MOUNTS = """
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
# nothing of the running machine starts here: what the test wants it starts itself
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires etc/systemd/system/default.target usr/sbin/policy-rc.d
rm -rf var/log/journal
: > etc/machine-id
: > etc/fstab
ln -s /lib/systemd/system/multi-user.target etc/systemd/system/default.target
for script in etc/init.d/*; do ln -sf /dev/null "etc/systemd/system/${script##*/}.service"; done
mount -t proc proc proc
# the kernel is the running machine's: its settings, modules and clock are not to be touched
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
# shared again, or the folders of credentials are not seen by the users they are made for
exec env -i container=overlay PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -ec '
    umount -l /before
    rmdir /before
    mount --make-rshared /
    exec setpriv --bounding-set -sys_module,-sys_time,-sys_rawio /lib/systemd/systemd --system'
"""

NAMESPACES = ["--mount", "--propagation", "private", "--pid", "--fork", "--cgroup", "--net", "--ipc", "--uts"]
BOOTING = 120
NEW_NETWORK = 0x40000000


class NotBooted(AssertionError):
    """The machine did not boot; the text has the last words of its console, or what it lacks."""


class Machine:
    """One booted machine. It is mounted in `folder`; `shared` it and the test see under the same path."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self._folder = folder
        self._shared = shared
        self._console = folder / "console"
        self._cgroup = _cgroups() / f"syncd-tests-{os.getpid()}-{time.monotonic_ns()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Start it, and return when systemd has reached its target."""
        if os.geteuid() != 0:
            raise NotBooted("to boot a systemd takes root: run the tests as root")
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
        wait_until(self._is_up, BOOTING)

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NotBooted(
                "a machine could not be started on this one, see below; it takes root with CAP_SYS_ADMIN, namespaces, "
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
        """What it has printed."""
        return self._console.read_text(errors="replace")[-5000:]

    def run(self, *command: str, check: bool = True, given: str = "") -> str:
        """Run a command inside, as root, to its end; return what it prints. Fails with its words unless it succeeds."""
        inside = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*inside, *clean, *command], input=given, capture_output=True, text=True, errors="replace", check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def changes(self) -> set[str]:
        """Every path that is there and not on the running machine, and in brackets those that are there no longer."""
        found = self.run("find", "/written", "-xdev", "-printf", "%y/%P\n").splitlines()
        removed = {f"[{line[1:]}]" for line in found if line.startswith("c")}  # as an overlay marks them
        return removed | {line[1:] for line in found if not os.path.lexists(line[1:])}

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file inside, as an administrator does."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, given=text)

    @contextmanager
    def network(self) -> Iterator[None]:
        """While this lasts, whatever the calling thread connects to is in the machine's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as ours, open(f"/proc/{self._leader}/ns/net", "rb") as theirs:  # noqa: PTH123 - two files of the kernel
            if libc.setns(theirs.fileno(), NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "cannot enter the machine's network")
            try:
                yield
            finally:
                libc.setns(ours.fileno(), NEW_NETWORK)

    def end(self) -> None:
        """Kill whatever is left of it, and remove what it has made outside."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)  # unshare; with it goes its child, and with that all others
            self._process.wait()
        wait_until(lambda: _removed(self._cgroup))


def _cgroups() -> Path:
    """Where the cgroup2 file system is, alone or beside the older one."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise NotBooted("this machine has no cgroup2 file system, so no systemd can be booted on it")


def _removed(cgroup: Path) -> bool:
    """Remove a group with all below it; not yet possible while the last of its processes are dying."""
    try:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            Path(folder).rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    return not cgroup.exists()
