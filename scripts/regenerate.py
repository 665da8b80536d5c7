"""The work of scripts/regen: the settings table of README.md, from the one table the program itself uses."""

import sys
from pathlib import Path

from s3batch.cli.help import default_of
from s3batch.settings import TABLE, Setting, Topic

README = Path(__file__).resolve().parents[1] / "README.md"
START, END = "<!-- settings:start -->\n", "<!-- settings:end -->\n"


def main() -> int:
    old = README.read_text()
    new = with_settings(old)
    if "--check" in sys.argv[1:]:
        return int(old != new)
    README.write_text(new)
    return 0


def with_settings(document: str) -> str:
    """The document with its settings table renewed."""
    before, rest = document.split(START)
    after = rest.split(END)[1]
    return before + START + settings_table() + END + after


def settings_table() -> str:
    lines = ["| setting | form | default | |", "| --- | --- | --- | --- |"]
    for topic in Topic:
        rows = [row for row in TABLE.values() if row.topic is topic]
        lines += [f"| **{topic.value}** | | | |"] if rows else []
        lines += [table_row(row) for row in rows]
    return "\n".join([*lines, ""])


def table_row(row: Setting) -> str:
    names = ", ".join(f"`{name}`" for name in row.names)
    form = ", ".join(row.choices) or row.form.value
    default = default_of(row)
    return f"| {names} | {form} | {f'`{default}`' if default else ''} | {row.help.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    sys.exit(main())
