"""config/monitoring: rules, dashboard and examples use existing series and events; promtool tests every alert."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd.observability import log, metrics

FOLDER = Path(__file__).parents[2] / "config" / "monitoring"
RULES = yaml.safe_load((FOLDER / "syncd.rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "syncd.dashboard.json").read_text())
SCRAPER_SERIES = {"up"}
"""Series that the scraper adds."""


def promtool(*words: str, text: str | None = None) -> str:
    """Run promtool successfully and return its output."""
    run = subprocess.run(["promtool", *words], cwd=FOLDER, input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def labels_by_series() -> dict[str, set[str]]:
    """Return every series of /metrics -> its labels, with those that the scraper adds."""
    labels: dict[str, set[str]] = {}
    for family in metrics.REGISTRY.collect():
        ending = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        for end in ending:
            labels[family.name + end] = {"instance", "job", "le"}
    for collector in vars(metrics).values():
        for name in getattr(collector, "_labelnames", ()):
            for series in [series for series in labels if series.startswith(collector._name)]:
                labels[series].add(name)
    return labels


def used_series(query: str) -> set[str]:
    """Return the series that a query uses."""
    plain = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"\b(?:syncd_\w+|process_\w+|up)\b", plain))


def queries(part: Any) -> list[str]:
    """Return every query within a part of the dashboard."""
    if isinstance(part, list):
        return [query for item in part for query in queries(item)]
    if not isinstance(part, dict):
        return []
    own = [part[key] for key in ("expr", "definition") if key in part]
    return own + [query for value in part.values() for query in queries(value)]


def test_the_rules_are_valid_and_each_alert_is_tested() -> None:
    """Each rule is tested with an expected alert and without one."""
    promtool("check", "rules", "syncd.rules.yml")
    assert "SUCCESS" in promtool("test", "rules", "syncd.rules.test.yml")

    cases = [case for test in yaml.safe_load((FOLDER / "syncd.rules.test.yml").read_text())["tests"]
              for case in test["alert_rule_test"]]  # fmt: skip
    names = {rule["alert"] for rule in RULES}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


def test_a_wrong_rule_fails(tmp_path: Path) -> None:
    """The tests of the rules can fail: another limit is detected."""
    for path in FOLDER.glob("*.yml"):
        (tmp_path / path.name).write_text(path.read_text().replace("< 14 * 86400", "< 5 * 86400"))
    command = ["promtool", "test", "rules", "syncd.rules.test.yml"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)

    assert run.returncode == 1


def test_names_of_metrics_follow_the_conventions_of_prometheus() -> None:
    """`promtool check metrics` reports nothing."""
    assert promtool("check", "metrics", text=metrics.render()[0].decode()) == ""


def test_rules_use_existing_series() -> None:
    """Their labels exist, too."""
    existing = labels_by_series()
    for rule in RULES:
        series = used_series(rule["expr"])
        labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert series <= existing.keys() | SCRAPER_SERIES, rule["alert"]
        assert all(labels <= existing.get(name, {"instance", "job"}) for name in series), rule["alert"]


def test_the_dashboard_uses_existing_series() -> None:
    """Each panel has a query, and no query has a misspelled name."""
    expressions = queries(DASHBOARD)

    assert all(panel["targets"] for panel in DASHBOARD["panels"])
    assert len(expressions) > len(DASHBOARD["panels"])
    for query in expressions:
        assert used_series(query), query
        assert used_series(query) <= labels_by_series().keys(), query
    assert {"syncd_contacts", "syncd_sync_runs_total", "syncd_http_requests_total"} <= set.union(
        *map(used_series, expressions)
    )


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    """All panels are within the 24 columns."""
    occupied: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        box = panel["gridPos"]
        cells = {(box["x"] + x, box["y"] + y) for x in range(box["w"]) for y in range(box["h"])}
        assert not cells & occupied, panel["title"]
        assert box["x"] + box["w"] <= 24
        occupied |= cells


@pytest.mark.parametrize("name", ["README.md", "rsyslog.conf", "syncd.alloy", "vector.toml", "syncd.rules.yml"])
def test_events_in_examples_exist(name: str) -> None:
    """No example uses an unknown event, and each MESSAGE_ID is that of its event."""
    text = (FOLDER / name).read_text()
    areas = "|".join({event.name.partition(".")[0] for event in log.EVENTS if "." in event.name})
    events = set(re.findall(rf"(?<![\w.])(?:{areas})\.[a-z_]+\b", text))

    assert events <= {event.name for event in log.EVENTS}
    for event, number in re.findall(r"^\| `([a-z_.]+)` \| `([0-9a-f]{32})` \|", text, re.MULTILINE):
        assert log.message_id(event) == number
    assert name != "README.md" or len(events) > 6


def test_the_readme_names_every_file() -> None:
    """The table of files is complete."""
    files = set(re.findall(r"^\| `([\w.]+)` \| .* \| .* \|$", (FOLDER / "README.md").read_text(), re.MULTILINE))

    assert {path.name for path in FOLDER.iterdir()} == {
        name for name in files if "." in name and not is_event(name)
    } | {"README.md"}


def is_event(name: str) -> bool:
    return name in {event.name for event in log.EVENTS}
