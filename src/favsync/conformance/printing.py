"""Findings for people: a line each, and what to write into favsync.toml."""

import json

from rich.console import Console
from rich.text import Text

from favsync.conformance.findings import Finding, Mark, Report, Setting

_STYLES = {Mark.OK: "green", Mark.DIFFERS: "yellow", Mark.FAILS: "bold red"}
_MARK_WIDTH, _CHECK_WIDTH = 9, 14


def show(console: Console, finding: Finding) -> None:
    """Never as markup: a backend may have written some of it."""
    line = Text(f"{finding.mark:<{_MARK_WIDTH}}", style=_STYLES[finding.mark])
    line.append(f"{finding.check:<{_CHECK_WIDTH}}", style="bold")
    line.append(finding.says, style="default")
    for name, value in finding.settings.items():
        line.append(f" → {_setting(name, value)}", style="cyan")
    console.print(line, soft_wrap=True)


def conclude(console: Console, report: Report) -> None:
    failed = [finding.check for finding in report.findings if finding.mark is Mark.FAILS]
    console.print()
    if failed:
        console.print(Text(f"It cannot be synced with as it is: {', '.join(failed)}."), soft_wrap=True)
        return
    how = "It can be read from" if report.settings.get("direction") == "pull" else "It can be synced with"
    console.print(Text(f"{how}. In favsync.toml:"), soft_wrap=True)
    console.print()
    table = ["[[peers]]", 'name = "…"', f"url = {json.dumps(report.url)}"]
    if report.header is not None:
        table.append(f'header = {{ name = {json.dumps(report.header)}, value_file = "…" }}')
    for line in [*table, *(_setting(name, value) for name, value in report.settings.items())]:
        console.print(Text(f"    {line}"), soft_wrap=True)


def _setting(name: str, value: Setting) -> str:
    return f"{name} = {json.dumps(value)}"
