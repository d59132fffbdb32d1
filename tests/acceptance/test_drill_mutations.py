"""Guards taken out of copies of syncd: the drill of such a build has to fail, in the rows that each guard is for.

A guard is a text and what stands there without it. A text that is not found exactly once fails its test: whoever
rewrites a guard says here what it is now. The check of result codes is taken out alone; of the other guards those that
have no part in each other's faults share a build, because each build costs servers of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncd.demo.bootstrap import CHECKOUT


@dataclass(frozen=True)
class Guard:
    """What it is, the faults that nothing else meets as promised, and its texts: file below `syncd`, old, new."""

    name: str
    faults: tuple[str, ...]
    edits: tuple[tuple[str, str, str], ...]
    loses: bool = True
    """Whether contacts are lost without it. Where another guard stands behind it, a row is only not as promised."""


DECISION, PLAN, LDAP, FILE = "core/guard.py", "store/plan.py", "sources/ldap", "sources/file.py"
APPLICATION, MIGRATION = "store/application.py", "store/migrations/versions/0001_directory.py"

BUILDS: dict[str, tuple[Guard, ...]] = {
    "result codes": (
        Guard(
            "result code",
            ("wrong-result-code", "time-limit", "size-limit", "total-paging-limit"),
            ((f"{LDAP}/fault.py", "if result.code == 0:", "if True:"),),
        ),
    ),
    "reading, locks and grace": (
        Guard(
            "size limit",
            ("size-limit", "total-paging-limit"),
            ((f"{LDAP}/fault.py", "if result.code == 0:", "if result.code in {0, 4}:"),),
            loses=False,
        ),
        Guard(
            "repeated page",
            ("repeated-page", "repeated-cookie"),
            ((f"{LDAP}/paging.py", "if not stuck:", "if True:"),),
            loses=False,
        ),
        Guard("references", ("referral",), ((f"{LDAP}/paging.py", "if self.references:", "if False:"),)),
        Guard(
            "end of the connection",
            ("cut-page-1", "cut-page-2", "cut-page-3", "reset"),
            (
                (
                    f"{LDAP}/__init__.py",
                    "            tally.fail(fault)",
                    '            _ = fault.code == "cut" or tally.fail(fault)',
                ),
            ),
            loses=False,
        ),
        Guard(
            "read timeout",
            ("stall",),
            (
                (
                    f"{LDAP}/reader.py",
                    "wait = min(self._patience, self._deadline.remaining)",
                    "wait = self._deadline.remaining",
                ),
            ),
            loses=False,
        ),
        Guard(
            "bind",
            ("bind-refused",),
            ((f"{LDAP}/session.py", "if code != 0 or not self._connection.bound:", "if False:"),),
            loses=False,
        ),
        Guard(
            "a look at another directory",
            ("second-server-strange",),
            (
                (
                    f"{LDAP}/look.py",
                    "if base.key_attribute != evidence.key_attribute or (\n"
                    "            evidence.key_attribute in KEYS and base.directory != evidence.directory\n        ):",
                    "if False:",
                ),
            ),
        ),
        Guard(
            "key of the source",
            ("other-key",),
            (("sync.py", "if pinned is not None and evidence.key_attribute != pinned:", "if False:"),),
            loses=False,
        ),
        Guard(
            "grace",
            ("queue-file-cut-between-queues",),
            ((PLAN, 'departure = "remove" if lifecycle.immediate else "miss"', 'departure = "remove"'),),
        ),
        Guard(
            "lock of a source",
            ("two-daemons",),
            (
                (
                    "store/writer.py",
                    'if not self._connection.scalar(_LOCK, {"source": self._source}):',
                    "if False:",
                ),
            ),
            loses=False,
        ),
    ),
    "removing and files": (
        Guard(
            "base",
            ("acl-base",),
            ((f"{LDAP}/fault.py", "if result.code == 0:", "if result.code in {0, 32}:"),),
            loses=False,
        ),
        Guard(
            "paging control",
            ("no-paging-control",),
            ((f"{LDAP}/paging.py", "    if control is None:\n", '    if control is None:\n        return b""\n'),),
        ),
        Guard(
            "deadline",
            ("drip",),
            ((f"{LDAP}/reader.py", "wait = min(self._patience, self._deadline.remaining)", "wait = self._patience"),),
            loses=False,
        ),
        Guard(
            "volume",
            ("acl-entries", "moved-subtree"),
            (
                (
                    DECISION,
                    "if counts.leaving + window.before > allowed:",
                    'if counts.leaving + window.before > allowed and window.code != "volume":',
                ),
            ),
        ),
        Guard(
            "empty source",
            ("empty-replica", "queue-file-no-queues"),
            ((DECISION, "if evidence.entries == 0 and case.limits.hold_empty:", "if False:"),),
        ),
        Guard("records without a key", ("acl-key",), ((DECISION, "if counts.keyless:", "if False:"),)),
        Guard("overwritten key", ("overwritten-key",), ((DECISION, "if counts.doubled:", "if False:"),)),
        Guard("scope", ("narrowed-filter", "narrowed-base"), ((DECISION, "if moved:", "if False:"),)),
        Guard(
            "sentinel",
            ("sentinel-hidden",),
            ((DECISION, "for absent in case.counts.absent:", "for absent in ():"),),
        ),
        Guard(
            "rejects",
            ("too-many-rejects",),
            ((DECISION, "if case.counts.rejected > allowed:", "if False:"),),
        ),
        Guard(
            "lost attributes",
            ("acl-attribute", "renamed-attribute"),
            ((DECISION, "if loss.lost > case.limits.losses.allows(loss.had)", "if False"),),
        ),
        Guard(
            "a look without an answer",
            ("second-server-away",),
            ((DECISION, "if sighting.sight is Sight.UNKNOWN:", "if False:"),),
        ),
        Guard(
            "grace in runs",
            ("clock-jump",),
            ((PLAN, "runs=lifecycle.grace_runs)", "runs=1)"),),
        ),
        Guard(
            "a file that is not whole",
            ("queue-file-half-written", "queue-file-emptied", "queue-file-missing"),
            ((FILE, "return [], (self._shortfall(fault.code, fault.line, fault.reason),)", "return [], ()"),),
        ),
        Guard(
            "one record twice",
            ("queue-file-doubled",),
            ((FILE, "self._missing_column(listed) or self._duplicates(found)", "self._missing_column(listed)"),),
            loses=False,
        ),
    ),
    "looks and transactions": (
        Guard(
            "window",
            ("slow-bleed",),
            (
                (
                    DECISION,
                    "if counts.leaving + window.before > allowed:",
                    'if counts.leaving + window.before > allowed and window.code == "volume":',
                ),
            ),
        ),
        Guard(
            "second look",
            ("replica-lacks-10",),
            (
                (
                    DECISION,
                    "if case.sightings is None and case.counts.missing + case.counts.removed:",
                    "if False:",
                ),
            ),
        ),
        Guard(
            "one key twice",
            ("duplicate-key",),
            (
                (
                    PLAN,
                    "AND c.digest <> s.digest AND NOT EXISTS (SELECT FROM unseen u WHERE u.digest = c.digest)",
                    "AND false",
                ),
            ),
        ),
        Guard("grace in time", ("many-runs",), ((PLAN, "AND c.state_since <= now() - :grace", ""),)),
        Guard(
            "one transaction",
            ("session-lost",),
            (
                (PLAN, ") ON COMMIT DROP\n", ")\n"),
                (APPLICATION, "TABLE before ON COMMIT DROP AS", "TABLE before AS"),
                (
                    APPLICATION,
                    "written += execute(connection, statement, type_, **values).rowcount\n",
                    "written += execute(connection, statement, type_, **values).rowcount; raise_revision(connection)\n"
                    "        connection.commit()\n",
                ),
            ),
            loses=False,
        ),
        Guard(
            "ownership of Custom contacts",
            ("trespass",),
            (
                (
                    MIGRATION,
                    "DELETE ON contact_user, contact_queue TO syncd_sync;",
                    "DELETE ON contact_user, contact_queue, contact_custom TO syncd_sync;",
                ),
            ),
            loses=False,
        ),
    ),
}


def drill(folder: Path, faults: list[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status and rows of a drill by the copy in this folder."""
    command = [sys.executable, "-m", "syncd", "drill", "--json", *(f"--only={fault}" for fault in faults)]
    surroundings = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=surroundings, timeout=900
    )
    assert done.stdout, done.stderr
    return done.returncode, {row["fault"]: row for row in json.loads(done.stdout)["faults"]}


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("guards", BUILDS.values(), ids=[name.replace(" ", "-") for name in BUILDS])
def test_without_its_guards_the_drill_fails(guards: tuple[Guard, ...], tmp_path: Path) -> None:
    """Exit status 1, and each fault of each guard that was taken out is in a row that is not as promised."""
    shutil.copytree(CHECKOUT / "syncd", tmp_path / "syncd", ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in (edit for guard in guards for edit in guard.edits):
        path = tmp_path / "syncd" / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file}: {old!r} is there {text.count(old)} times"
        path.write_text(text.replace(old, new))

    status, rows = drill(tmp_path, [fault for guard in guards for fault in guard.faults])

    assert status == 1
    for guard in guards:
        for fault in guard.faults:
            assert rows[fault]["wrong"], f"{guard.name}: {rows[fault]}"
            assert not any("could not be played" in sentence for sentence in rows[fault]["wrong"]), rows[fault]
        lost = {fault: rows[fault]["contactsLost"] for fault in guard.faults}
        assert any(lost.values()) == guard.loses, f"{guard.name}: {lost}"
    if "trespass" in rows:
        assert rows["trespass"]["customChanged"] == 3
