"""config/monitoring: what watches syncd asks only for what there is, and promtool plays every alert."""

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
OF_PROMETHEUS = {"up"}
"""Series that the scraper itself makes."""


def promtool(*words: str, text: str | None = None) -> str:
    """What promtool says, after a success."""
    run = subprocess.run(["promtool", *words], cwd=FOLDER, input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def shown() -> dict[str, set[str]]:
    """Every series of /metrics -> its labels, with those that the scraper adds."""
    found: dict[str, set[str]] = {}
    for family in metrics.REGISTRY.collect():
        ending = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        for end in ending:
            found[family.name + end] = {"instance", "job", "le"}
    for collector in vars(metrics).values():
        for name in getattr(collector, "_labelnames", ()):
            for series in [series for series in found if series.startswith(collector._name)]:
                found[series].add(name)
    return found


def asked(query: str) -> set[str]:
    """The series that a query names."""
    plain = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"\b(?:syncd_\w+|process_\w+|up)\b", plain))


def queries(part: Any) -> list[str]:
    """Every query of the dashboard, wherever it stands."""
    if isinstance(part, list):
        return [query for item in part for query in queries(item)]
    if not isinstance(part, dict):
        return []
    own = [part[key] for key in ("expr", "definition") if key in part]
    return own + [query for value in part.values() for query in queries(value)]


def test_the_rules_are_good_and_each_alert_is_played() -> None:
    """Every rule is in the tests both ways: with alerts that are expected, and with none."""
    promtool("check", "rules", "syncd.rules.yml")
    assert "SUCCESS" in promtool("test", "rules", "syncd.rules.test.yml")

    played = [case for test in yaml.safe_load((FOLDER / "syncd.rules.test.yml").read_text())["tests"]
              for case in test["alert_rule_test"]]  # fmt: skip
    names = {rule["alert"] for rule in RULES}
    assert {case["alertname"] for case in played if case["exp_alerts"]} == names
    assert {case["alertname"] for case in played if not case["exp_alerts"]} == names


def test_a_rule_that_is_wrong_fails(tmp_path: Path) -> None:
    """The tests of the rules can fail: another limit is noticed."""
    for path in FOLDER.glob("*.yml"):
        (tmp_path / path.name).write_text(path.read_text().replace("< 14 * 86400", "< 5 * 86400"))
    command = ["promtool", "test", "rules", "syncd.rules.test.yml"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)

    assert run.returncode == 1


def test_our_metrics_are_named_as_prometheus_wants() -> None:
    """`promtool check metrics` has nothing to say."""
    assert promtool("check", "metrics", text=metrics.text()[0].decode()) == ""


def test_rules_ask_for_series_that_exist() -> None:
    """With the labels that they have."""
    known = shown()
    for rule in RULES:
        assert asked(rule["expr"]) <= known.keys() | OF_PROMETHEUS, rule["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert all(labels <= known.get(series, {"instance", "job"}) for series in asked(rule["expr"])), rule["alert"]


def test_the_dashboard_asks_for_series_that_exist() -> None:
    """Each panel has a query, and none shows nothing for a name that was mistyped."""
    found = queries(DASHBOARD)

    assert all(panel["targets"] for panel in DASHBOARD["panels"])
    assert len(found) > len(DASHBOARD["panels"])
    for query in found:
        assert asked(query), query
        assert asked(query) <= shown().keys(), query
    assert {"syncd_contacts", "syncd_sync_runs_total", "syncd_http_requests_total"} <= set.union(*map(asked, found))


def test_the_dashboard_has_no_panel_on_another() -> None:
    """Every panel has its place, and the columns fit."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("name", ["README.md", "rsyslog.conf", "syncd.alloy", "vector.toml", "syncd.rules.yml"])
def test_events_that_are_watched_exist(name: str) -> None:
    """No alert waits for an event that nothing writes, and each MESSAGE_ID is its event's."""
    text = (FOLDER / name).read_text()
    areas = "|".join({event.name.partition(".")[0] for event in log.EVENTS if "." in event.name})
    named = set(re.findall(rf"(?<![\w.])(?:{areas})\.[a-z_]+\b", text))

    assert named <= {event.name for event in log.EVENTS}
    for event, number in re.findall(r"^\| `([a-z_.]+)` \| `([0-9a-f]{32})` \|", text, re.MULTILINE):
        assert log.message_id(event) == number
    assert name != "README.md" or len(named) > 6


def test_the_readme_names_every_file() -> None:
    """And says which are tested."""
    files = set(re.findall(r"^\| `([\w.]+)` \| .* \| .* \|$", (FOLDER / "README.md").read_text(), re.MULTILINE))

    assert {path.name for path in FOLDER.iterdir()} == {
        name for name in files if "." in name and not log_event(name)
    } | {"README.md"}


def log_event(name: str) -> bool:
    return name in {event.name for event in log.EVENTS}
