"""The shape of a setting: its form, topic, commands, and the names it has as flag and variable."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from s3batch.base.named_tuple import NamedTuple

DEFAULT = "default"
"""The origin of a value that was not set."""
JOURNAL = "journal"
"""The origin of a value that a resumed job already had."""

COMMANDS: dict[str, str] = {
    "sync": "make a target match a source: a directory and an S3 prefix, either way, or two prefixes",
    "cache restore": "restore the paths that an earlier build cached",
    "cache rebuild": "cache paths for later builds",
    "cache clear": "remove the caches of this repository",
    "cache list": "list the caches with age, size and last use",
    "cache prune": "remove old caches by age, number or size",
    "cache inspect": "list the content of one cache",
    "resume": "finish the unfinished job, or the one named",
    "report": "write the report of a finished job, from its journal",
    "jobs list": "list the jobs with their state and what is left to do",
    "jobs show": "show one job: what is left to do, what failed and why",
    "jobs prune": "delete finished jobs from the journals, abort the multipart uploads of dead jobs",
    "jobs forget": "delete one job from its journal, abort its multipart uploads",
    "verify": "compare a source with a target, change nothing",
    "undo": "take back what a job has changed: from its backup, or from the versions of the bucket",
    "backup prune": "remove the backups of jobs that ended long ago",
    "plan": "show a plan that sync --plan has saved",
    "apply": "carry out a saved plan, and nothing else",
    "explain": "tell what a sync would do with one path or key, and why",
    "doctor": "test each permission and store feature that the settings need",
    "config": "show every setting in force and where it came from",
    "completion": "print the completion script of a shell",
    "plugin": "run as a CI plugin: read all settings from the environment",
}

CACHE_COMMANDS = frozenset(name for name in COMMANDS if name.startswith("cache "))
SYNC_COMMANDS = frozenset({"sync", "verify", "doctor", "explain"})
SOURCE_COMMANDS = SYNC_COMMANDS | {"resume", "apply"}
"""Commands with a source that may be in S3."""
ARCHIVE_COMMANDS = frozenset({"cache restore", "cache rebuild"})
KEYED_COMMANDS = ARCHIVE_COMMANDS | {"cache inspect"}
ONLINE_COMMANDS = (
    SYNC_COMMANDS | CACHE_COMMANDS | {"resume", "apply", "undo", "backup prune", "jobs prune", "jobs forget"}
)
REPORTING_COMMANDS = frozenset({"sync", "apply", "undo", "verify", "doctor", "resume"}) | CACHE_COMMANDS
"""Commands whose end is written to report files and told to other programs."""
WORKING_COMMANDS = frozenset({"sync", "verify", "resume", "apply", "undo"}) | ARCHIVE_COMMANDS
_OF_JOURNALS = frozenset({"doctor", "explain", "report", "jobs list", "jobs show", "jobs prune", "jobs forget"})
JOURNAL_COMMANDS = WORKING_COMMANDS | _OF_JOURNALS
EVERY_COMMAND = frozenset(COMMANDS) - {"config", "completion"}
RESUMABLE = frozenset({"sync", "apply", "undo", "cache restore", "cache rebuild"})
"""Commands whose jobs ``resume`` finishes. It accepts their settings too, if they are equal to the job's."""
PLUGIN_ONLY = frozenset({"plugin"})


class Form(StrEnum):
    """The type of a setting, which decides how its text is parsed."""

    TEXT = "text"
    URL = "url"
    """``https://`` is added where the scheme is missing."""
    BOOLEAN = "true or false"
    COUNT = "count"
    """The number of times a flag was given; ``true`` is 1."""
    INTEGER = "number"
    SIZE = "size"
    """Bytes, see :func:`s3batch.base.units.parse_size`."""
    BANDWIDTH = "size, or timetable"
    """Bytes per second, or a text: see :mod:`s3batch.settings.bandwidth`."""
    DURATION = "duration"
    """Seconds, see :func:`s3batch.base.units.parse_duration`."""
    DAYS = "duration, plain numbers are days"
    LIMIT = "N or N%"
    """Kept as text; :func:`s3batch.base.units.parse_limit` parses it."""
    LIST = "list"
    """Items between commas, a JSON list, or the flag several times."""
    KEYS = "list, a comma in an item is written as \\,"
    """As :attr:`LIST`, but ``\\,`` is a comma, and a comma between ``{{`` and ``}}`` separates nothing."""
    RULES = "text, or map from pattern to text"
    """Kept as text or JSON; :mod:`s3batch.objects.attributes` parses it."""
    MAP = "map"
    """Kept as JSON."""


LISTS = frozenset({Form.LIST, Form.KEYS})
"""Forms whose flag may be given several times."""


class Topic(StrEnum):
    """The heading below which the help and docs/settings.md show a setting."""

    WHAT = "Source and target"
    ATTRIBUTES = "Attributes of objects"
    SAFETY = "Deleting and safety"
    CLOUDFRONT = "CloudFront"
    CACHE = "Cache"
    ACCESS = "Endpoint and credentials"
    SPEED = "Speed"
    JOURNAL = "Journal"
    OUTPUT = "Output"


class Setting(NamedTuple):
    """One row of the table: a setting with its default, form, help and names."""

    name: str = ""
    default: Any = ""
    form: Form = Form.TEXT
    help: str = ""
    topic: Topic = Topic.WHAT
    commands: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    """Other names, valid wherever the name is."""
    plugin: tuple[str, ...] = ()
    """Variables of a CI plugin, the strongest first; empty: ``PLUGIN_`` and each of its names."""
    plugin_cache: tuple[str, ...] = ()
    """Weaker variables, which only cache plugins read."""
    also: tuple[str, ...] = ()
    """Variables of the AWS tools, weaker than ``S3BATCH_`` ones, read by every command."""
    short: str = ""
    """The one-letter flag, such as ``-v``."""
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    zero_is_unset: bool = False
    """True if 0 and negative numbers mean the default."""
    shown_default: str = ""
    """The default in words, where it is found at run time."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)

    @property
    def flag(self) -> str:
        """The flag, such as ``--foo-bar``."""
        return flag_of(self.name)

    @property
    def variable(self) -> str:
        """The environment variable, such as ``S3BATCH_FOO_BAR``."""
        return variable_of(self.name)

    @property
    def plugin_names(self) -> tuple[str, ...]:
        """The variables of a CI plugin, the strongest first."""
        return self.plugin or tuple(f"PLUGIN_{name.upper()}" for name in self.names)


def flag_of(name: str) -> str:
    """Return the flag of a setting: ``--foo-bar`` for ``foo_bar``."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: ``S3BATCH_FOO_BAR`` for ``foo_bar``."""
    return "S3BATCH_" + name.upper()


DEFINED: list[Setting] = []
"""The rows in the order of their fields, which alone have the names."""


def define_setting(
    default: Any, sentence: str, topic: Topic, commands: frozenset[str], form: Form = Form.TEXT, **more: Any
) -> Any:
    """Return the default of a field of :class:`Settings`, and define its row; ``more`` are fields of :class:`Setting`."""
    DEFINED.append(Setting("", default, form, sentence, topic, commands, **more))
    return default
