"""Mutation tests of the guards: the drill of a copy of syncd without a guard must fail in the rows of that guard.

A guard is removed by text replacements. A text that does not occur exactly once fails the test, so a changed guard has
to be changed here too. The check of result codes is removed in a build of its own. Other guards share a build if they
do not affect each other's faults, because each build needs its own servers.
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
    """A guard, the faults that have an unexpected result without it, and the edits that remove it.

    An edit is file below `syncd`, old text, new text.
    """

    name: str
    faults: tuple[str, ...]
    edits: tuple[tuple[str, str, str], ...]
    loses: bool = True
    """Whether contacts are lost without it; False if another guard still prevents the loss."""


GUARD, PLAN, LDAP, FILE = "core/sync/guard.py", "store/run/plan.py", "sources/ldap", "sources/file.py"
APPLY, MIGRATION = "store/run/apply.py", "store/schema/migrations/versions/0001_directory.py"

BUILDS: dict[str, tuple[Guard, ...]] = {
    "result codes": (
        Guard(
            "result code",
            ("wrong-result-code", "time-limit", "size-limit", "total-paging-limit"),
            ((f"{LDAP}/errors.py", "if result.code == 0:", "if True:"),),
        ),
    ),
    "reading, locks and grace": (
        Guard(
            "size limit",
            ("size-limit", "total-paging-limit"),
            ((f"{LDAP}/errors.py", "if result.code == 0:", "if result.code in {0, 4}:"),),
            loses=False,
        ),
        Guard(
            "repeated page",
            ("repeated-page", "repeated-cookie"),
            ((f"{LDAP}/paging.py", "if not repeated:", "if True:"),),
            loses=False,
        ),
        Guard("references", ("referral",), ((f"{LDAP}/paging.py", "if self.references:", "if False:"),)),
        Guard(
            "end of the connection",
            ("cut-page-1", "cut-page-2", "cut-page-3", "reset"),
            (
                (
                    f"{LDAP}/__init__.py",
                    "            stats.record_fault(fault)",
                    '            _ = fault.code == "cut" or stats.record_fault(fault)',
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
                    "wait = min(self._read_timeout, self._deadline.remaining)",
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
            "verification on another directory",
            ("second-server-strange",),
            (
                (
                    f"{LDAP}/verify.py",
                    "if base.key_attribute != evidence.key_attribute or (\n"
                    "            evidence.key_attribute in IMMUTABLE_KEYS and base.directory != evidence.directory\n"
                    "        ):",
                    "if False:",
                ),
            ),
        ),
        Guard(
            "key of the source",
            ("other-key",),
            (("jobs/sync.py", "if pinned is not None and evidence.key_attribute != pinned:", "if False:"),),
            loses=False,
        ),
        Guard(
            "grace",
            ("queue-file-cut-between-queues",),
            ((PLAN, 'departure = "remove" if lifecycle.is_immediate else "miss"', 'departure = "remove"'),),
        ),
        Guard(
            "lock of a source",
            ("two-daemons",),
            (
                (
                    "store/run/writer.py",
                    "if not is_locked:",
                    "if False:",
                ),
            ),
            loses=False,
        ),
    ),
    "removals and files": (
        Guard(
            "base",
            ("acl-base",),
            ((f"{LDAP}/errors.py", "if result.code == 0:", "if result.code in {0, 32}:"),),
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
            (
                (
                    f"{LDAP}/reader.py",
                    "wait = min(self._read_timeout, self._deadline.remaining)",
                    "wait = self._read_timeout",
                ),
            ),
            loses=False,
        ),
        Guard(
            "volume",
            ("acl-entries", "moved-subtree"),
            (
                (
                    GUARD,
                    "if counts.leaving + window.before > allowed:",
                    'if counts.leaving + window.before > allowed and window.code != "volume":',
                ),
            ),
        ),
        Guard(
            "empty source",
            ("empty-replica", "queue-file-no-queues"),
            ((GUARD, "if evidence.entries == 0 and case.limits.hold_empty:", "if False:"),),
        ),
        Guard("records without a key", ("acl-key",), ((GUARD, "if counts.keyless:", "if False:"),)),
        Guard("overwritten key", ("overwritten-key",), ((GUARD, "if counts.doubled:", "if False:"),)),
        Guard("scope", ("narrowed-filter", "narrowed-base"), ((GUARD, "if changes:", "if False:"),)),
        Guard(
            "sentinel",
            ("sentinel-hidden",),
            ((GUARD, "for absent in case.counts.missing_sentinels:", "for absent in ():"),),
        ),
        Guard(
            "rejects",
            ("too-many-rejects",),
            ((GUARD, "if case.counts.rejected > allowed:", "if False:"),),
        ),
        Guard(
            "lost attributes",
            ("acl-attribute", "renamed-attribute"),
            ((GUARD, "if loss.lost > case.limits.losses.max_allowed(loss.before)", "if False"),),
        ),
        Guard(
            "verification without a response",
            ("second-server-away",),
            ((GUARD, "if check.presence is Presence.UNKNOWN:", "if False:"),),
        ),
        Guard(
            "grace in runs",
            ("clock-jump",),
            ((PLAN, "runs=lifecycle.grace_runs)", "runs=1)"),),
        ),
        Guard(
            "incomplete file",
            ("queue-file-half-written", "queue-file-emptied", "queue-file-missing"),
            ((FILE, "return [], (self._incomplete_reason(error.code, error.line, error.reason),)", "return [], ()"),),
        ),
        Guard(
            "duplicate record",
            ("queue-file-doubled",),
            (
                (
                    FILE,
                    "self._check_key_member(entries) or self._find_duplicates(items)",
                    "self._check_key_member(entries)",
                ),
            ),
            loses=False,
        ),
    ),
    "verification and transactions": (
        Guard(
            "window",
            ("slow-bleed",),
            (
                (
                    GUARD,
                    "if counts.leaving + window.before > allowed:",
                    'if counts.leaving + window.before > allowed and window.code == "volume":',
                ),
            ),
        ),
        Guard(
            "verification",
            ("replica-lacks-10",),
            (
                (
                    GUARD,
                    "if case.presence_checks is None and removals:",
                    "if False:",
                ),
            ),
        ),
        Guard(
            "duplicate key",
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
                (APPLY, "TABLE before ON COMMIT DROP AS", "TABLE before AS"),
                (
                    APPLY,
                    "written += execute(connection, statement, type_, **values).rowcount\n",
                    "written += execute(connection, statement, type_, **values).rowcount; "
                    "increment_revision(connection)\n"
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


def run_drill(folder: Path, faults: list[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the drill of the copy in this folder; return exit status and rows by fault."""
    command = [sys.executable, "-m", "syncd", "drill", "--json", *(f"--only={fault}" for fault in faults)]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=900
    )
    assert result.stdout, result.stderr
    return result.returncode, {row["fault"]: row for row in json.loads(result.stdout)["faults"]}


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("guards", BUILDS.values(), ids=[name.replace(" ", "-") for name in BUILDS])
def test_without_its_guards_the_drill_fails(guards: tuple[Guard, ...], tmp_path: Path) -> None:
    """Exit status 1, and an unexpected result for each fault of each removed guard."""
    shutil.copytree(CHECKOUT / "syncd", tmp_path / "syncd", ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in (edit for guard in guards for edit in guard.edits):
        path = tmp_path / "syncd" / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file}: {old!r} occurs {text.count(old)} times"
        path.write_text(text.replace(old, new))

    status, rows = run_drill(tmp_path, [fault for guard in guards for fault in guard.faults])

    assert status == 1
    for guard in guards:
        for fault in guard.faults:
            assert rows[fault]["wrong"], f"{guard.name}: {rows[fault]}"
            assert not any("could not be injected" in sentence for sentence in rows[fault]["wrong"]), rows[fault]
        lost = {fault: rows[fault]["contactsLost"] for fault in guard.faults}
        assert any(lost.values()) == guard.loses, f"{guard.name}: {lost}"
    if "trespass" in rows:
        assert rows["trespass"]["customChanged"] == 3
