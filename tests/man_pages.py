"""Generated man pages: syncd.toml(5) from the example settings, syncd-events(7) from the log events and metrics.

`python -m tests.man_pages` writes them; a unit test compares the files with what is generated here.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from syncd.observability import log, metrics

ROOT = Path(__file__).parents[1]
SETTINGS_PAGE = ROOT / "systemd" / "syncd.toml.5"
EVENTS_PAGE = ROOT / "systemd" / "syncd-events.7"

_TABLE = re.compile(r"#?(\[+[a-z_.]+\]+)$")
_KEY = re.compile(r"#?([A-Za-z_]+) = (.*)$")
_TERM = re.compile(r"#   (\w+) +(.*)$")
_DATE = "2026-12-01"
_WIDTH = 78


def generate_settings_page() -> str:
    """Return syncd.toml(5) as roff man macros: a section for each table, an item for each key of config/syncd.toml."""
    return "\n".join(
        (
            f'.TH SYNCD.TOML 5 {_DATE} "syncd" "File formats"',
            ".SH NAME",
            "syncd.toml \\- settings of the directory synchronization daemon",
            ".SH DESCRIPTION",
            *_settings((ROOT / "config" / "syncd.toml").read_text("utf-8").splitlines()),
            ".SH SEE ALSO",
            ".BR syncd (8)",
            "",
        )
    )


def generate_events_page() -> str:
    """Return syncd-events(7) as roff man macros: every log event with level, fields and action, and every metric."""
    return "\n".join(
        (
            f'.TH SYNCD-EVENTS 7 {_DATE} "syncd" "Miscellaneous"',
            ".SH NAME",
            "syncd-events \\- log events and metrics of the directory synchronization daemon",
            ".SH LOG EVENTS",
            "One JSON object on each line. The daemon writes to standard output,",
            "commands write to standard error. Each line has",
            '.BR timestamp " (UTC, RFC 3339), " level " and " event ,',
            "then the fields below; lines of a request have",
            ".BR request_id .",
            "In the journal the object is MESSAGE, and SYNCD_EVENT, SYNCD_SOURCE,",
            "SYNCD_RUN, SYNCD_REQUEST_ID and a fixed MESSAGE_ID are fields:",
            '.BR "journalctl SYNCD_EVENT=sync.held" .',
            ".PP",
            "A continuing failure is logged when it begins, at once for a second",
            "reason, then once in each",
            ".BR log.repeat_interval ;",
            ".B repeated",
            "is the number of suppressed lines.",
            *_events(),
            ".SH METRICS",
            "GET /metrics, Prometheus text format, with the metrics of the process.",
            *_metrics(),
            ".SH SEE ALSO",
            ".BR syncd (8),",
            ".BR journalctl (1)",
            "",
        )
    )


def _settings(lines: list[str]) -> Iterator[str]:
    text: list[str] = []
    start = ""
    for line in lines:
        if match := _TABLE.match(line):
            yield from _paragraph(text, start)
            start = ""
            yield f".SH {_escape(match[1])}"
        elif match := _KEY.match(line):
            yield from (".TP", f"\\fB{_escape(match[1])} = {_escape(match[2].split('  #')[0].rstrip())}\\fR")
            yield from _paragraph(text or ["As above."], "")
            text.clear()
            start = ".PP"
        elif match := _TERM.match(line):
            yield from _paragraph(text, start)
            text.append(match[2])
            start = f".TP\n{_escape(match[1])}"
        elif line.strip("# -") and not line.startswith("# ---"):
            text.append(line.strip("# "))
        elif text:
            yield from _paragraph(text, start)
            start = ".PP"
    yield from _paragraph(text, start)


def _paragraph(text: list[str], start: str) -> Iterator[str]:
    """Yield the collected lines of a comment behind the macro that starts the paragraph, and forget them."""
    if text and start:
        yield start
    yield from _wrap(" ".join(text))
    text.clear()


def _events() -> Iterator[str]:
    for event in log.EVENTS:
        yield ".TP"
        yield f'.BR {event.name} " ({event.level})"'
        yield from _wrap(f"{event.meaning}.")
        yield ".br"
        yield from _wrap(f"Fields: {', '.join(event.fields)}.")
        if event.action != "none":
            yield ".br"
            yield from _wrap(f"Action: {event.action}.")


def _metrics() -> Iterator[str]:
    collectors = (series for series in vars(metrics).values() if isinstance(series, Counter | Gauge | Histogram))
    for collector in collectors:
        (family,) = collector.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ",".join(collector._labelnames)  # the library has no public name for them
        yield ".TP"
        yield f'.BR {name}{"{" + labels + "}" if labels else ""} " ({family.type})"'
        yield from _wrap(family.documentation.rstrip(".") + ".")


def _wrap(text: str) -> list[str]:
    return [_escape(line) for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(generate_settings_page(), "utf-8")
    EVENTS_PAGE.write_text(generate_events_page(), "utf-8")
