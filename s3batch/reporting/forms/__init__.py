"""The forms of a report: JSON, CSV, Prometheus, JUnit, Markdown, HTML. Each renders one run as pieces of text."""
