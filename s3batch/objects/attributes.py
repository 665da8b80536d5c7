"""The attributes of a file's object: each per-file setting is a map from pattern to value, and one pattern wins.

A pattern matches a path when
  - its ``*``-glob matches the path relative to the source, or the absolute path, or
  - it begins with ``.`` (or is empty: no extension) and equals the extension; a second try ignores case.

Of several, this order decides, never the order in the map (Drone hands maps over with sorted keys):

    exact relative path  >  most literal characters  >  extension, longest suffix first  >  "*"

and the pattern's text breaks ties. An empty value means: no such header. A path costs about 1 µs where no
setting holds a glob, because then all files with one extension are alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from s3batch.base.named_tuple import NamedTuple
from s3batch.model import Attributes
from s3batch.objects import content_types
from s3batch.objects.preserved import PRESERVABLE
from s3batch.objects.star_glob import compile_star_glob, count_literals
from s3batch.settings import pattern_maps
from s3batch.settings.texts import http_date

if TYPE_CHECKING:
    from s3batch.settings.table import Settings  # workers read rules, not settings

CANNED_ACLS = frozenset(
    {
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
        "log-delivery-write",
    }
)
STORAGE_CLASSES = frozenset(
    {
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
    }
)
"""Amazon's, which may be written in any case. A store may have others, in which the case counts."""
ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")

_TEXTS = (
    "acl",
    "content_type",
    "content_encoding",
    "cache_control",
    "content_disposition",
    "content_language",
    "expires",
    "storage_class",
)
_CACHE_SIZE = 10_000
"""Extensions remembered before starting afresh: a tree of ``name.HASH`` files must not fill the memory."""

Described = tuple[Attributes, str]
"""Attributes and their fingerprint."""

T = TypeVar("T")


class PatternChoice(NamedTuple, Generic[T]):
    """The values of one setting by pattern, sorted so that the first that matches wins."""

    otherwise: T
    """For a path that no pattern matches."""
    exact: Mapping[str, T] = {}
    globs: tuple[tuple[re.Pattern[str], bool, T], ...] = ()
    """Globs, each with true if it is matched against the absolute path."""
    extensions: Mapping[str, T] = {}
    folded: Mapping[str, T] = {}
    """The same by extension in lower case."""
    everything: tuple[T, ...] = ()
    """The value of ``*``, if there is one."""

    @classmethod
    def of(cls, values: Mapping[str, T], root: str, otherwise: T) -> PatternChoice[T]:
        """Return the choice. ``root`` is the source's absolute path, with which the absolute paths of all files begin."""
        ordered = sorted(values, key=lambda pattern: (-count_literals(pattern), pattern))
        extensions = [pattern for pattern in ordered if pattern.startswith(".") or not pattern]
        return cls(
            otherwise,
            exact=dict(values),
            globs=tuple(
                (compile_star_glob(p), p.startswith(("*", "/")), values[p])
                for p in ordered
                if count_literals(p) and ("*" in p or p.startswith(root))
            ),
            extensions={pattern: values[pattern] for pattern in extensions},
            folded={pattern.lower(): values[pattern] for pattern in reversed(extensions)},
            everything=tuple(values[p] for p in ordered if p and not count_literals(p))[:1],
        )

    def get(self, path: str, absolute: str) -> T:
        """Return the value for this file."""
        return next(self.matches(path, absolute), self.otherwise)

    def matches(self, path: str, absolute: str) -> Iterator[T]:
        """Yield the values of all patterns that match, the winner first."""
        if path in self.exact:
            yield self.exact[path]
        for regex, of_absolute, value in self.globs:
            if regex.fullmatch(absolute if of_absolute else path):
                yield value
        if self.extensions:
            yield from self._of_extension(path)
        yield from self.everything

    def _of_extension(self, path: str) -> Iterator[T]:
        suffixes = list_extensions(path)
        yield from (self.extensions[suffix] for suffix in suffixes if suffix in self.extensions)
        yield from (self.folded[suffix.lower()] for suffix in suffixes if suffix.lower() in self.folded)


_NOTHING = PatternChoice("")


class AttributeRules:
    """All per-file settings, ready to be asked. Picklable; its caches change no answer."""

    def __init__(
        self, settings: Settings, root: str, choices: Mapping[str, PatternChoice[Any]], *, guesses_types: bool,
        cache_size: int = _CACHE_SIZE,
    ) -> None:  # fmt: skip
        """Take the choices of the settings that are set, by their names, which are those of the attributes too."""
        self.root = root
        """The absolute path of the source, with one ``/`` at its end."""
        self.choices = choices
        self.encryption, self.kms_key_id = _choose_encryption(settings)
        self.preserve = tuple(name for name in PRESERVABLE if name in settings.preserve)
        """The attributes of each file to keep in user metadata."""
        self.key_mark = settings.customer_key_mark()
        """The mark of the key of SSE-C. Fingerprints begin with it, so that an object with another key is no unchanged one."""
        self._named = frozenset(pattern for choice in choices.values() for pattern in choice.exact)
        """Patterns that may be a file's own path: such a file is not like the others with its extension."""
        dots = max((pattern.count(".") for pattern in self._named if pattern.startswith(".")), default=1)
        self._depth = 0 if any(choice.globs for choice in choices.values()) else dots
        """Dots in the longest extension that a setting names; 0 where a glob needs the whole path."""
        self._guesses_types = guesses_types
        """False: an object brings its own type along, and only a configured one replaces it."""
        self._cache_size = cache_size
        self._remembered: dict[str, Described] = {}
        """By extension."""
        self._made: dict[tuple[Any, ...], Described] = {}
        """One object for all files that are to have the same attributes, and one computation of its fingerprint."""

    @classmethod
    def from_settings(
        cls, settings: Settings, source_root: str, *, guesses_types: bool = True, cache_size: int = _CACHE_SIZE
    ) -> AttributeRules:
        """Return the rules. Raises SettingsError for values that cannot work; ``root`` is the source's absolute path.

        Without ``guesses_types`` only configured types count, as for objects that bring their own along.
        """
        root = source_root.rstrip("/") + "/"
        choices = {
            name: PatternChoice.of(values, root, otherwise)
            for name, (values, otherwise) in collect_pattern_settings(settings).items()
            if values
        }
        return cls(settings, root, choices, guesses_types=guesses_types, cache_size=cache_size)

    def attributes(self, path: str) -> Attributes:
        """Return the attributes of the object of this file (relative to the source). Equal ones are the same object."""
        return self.describe(path)[0]

    def fingerprint(self, path: str) -> str:
        """Return ``attributes(path).fingerprint()``, computed once: it is needed for every file of every run."""
        return self.describe(path)[1]

    def redirect_acl(self, name: str) -> str:
        """Return the ACL of a redirect: public-read, unless the ``acl`` setting matches its name."""
        acl = self.choices.get("acl", _NOTHING)
        return next(acl.matches(name, self.root + name), "public-read")

    @property
    def compresses(self) -> bool:
        """True if some file may be sent as gzip."""
        return "gzip" in self.choices

    def describe(self, path: str) -> Described:
        """Return the attributes and their fingerprint, both at the price of one."""
        if not self._depth or path in self._named:
            return self._decide(path)
        if self._depth == 1:
            dot = path.rfind(".")
            extension = path[dot:] if dot > path.rfind("/") else ""
        else:
            extension = ".".join(["", *path.rpartition("/")[2].rsplit(".", self._depth)[1:]])
        found = self._remembered.get(extension)
        if found is None:
            if len(self._remembered) >= self._cache_size:
                self._remembered.clear()
            found = self._remembered[extension] = self._decide(path)
        return found

    def _decide(self, path: str) -> Described:
        absolute = self.root + path
        chosen = (
            *(choice.get(path, absolute) for choice in self.choices.values()),
            content_types.guess_content_type(path) if self._guesses_types else "",
        )
        made = self._made.get(chosen)
        if made is None:
            attributes = self._attributes(chosen[-1], **dict(zip(self.choices, chosen, strict=False)))
            made = self._made[chosen] = (attributes, self.key_mark + attributes.fingerprint())
        return made

    def _attributes(
        self, guessed: str, *, content_type: str = "", content_encoding: str = "", gzip: bool = False, **others: Any
    ) -> Attributes:
        # a file that some setting calls br or zstd already is compressed: gzip leaves it alone
        gzip = gzip and content_encoding.lower() in ("", "gzip")
        return Attributes(
            content_type=content_type or guessed,
            content_type_configured=bool(content_type),
            content_encoding="gzip" if gzip else content_encoding,
            gzip=gzip,
            encryption=self.encryption,
            kms_key_id=self.kms_key_id,
            preserve=self.preserve,
            **others,
        )


def list_extensions(path: str) -> list[str]:
    """Return ``.tar.gz`` and ``.gz`` for ``a.b/c.tar.gz``, the longest first; an empty one for a name without a dot."""
    pieces = path.rpartition("/")[2].split(".")
    return ["." + ".".join(pieces[start:]) for start in range(1, len(pieces))] or [""]


def collect_pattern_settings(settings: Settings) -> dict[str, tuple[Mapping[str, Any], Any]]:
    """Return for each per-file setting its values by pattern, and the value of a file that no pattern matches."""
    texts = {name: pattern_maps.parse_text_map(settings, name) for name in _TEXTS}
    if odd := sorted({value for value in texts["acl"].values() if value} - CANNED_ACLS):
        raise settings.bad("acl", f"{odd[0]!r} is not a canned ACL of S3: {', '.join(sorted(CANNED_ACLS))}")
    texts["storage_class"] = {
        pattern: value.upper() if value.upper() in STORAGE_CLASSES else value
        for pattern, value in texts["storage_class"].items()
    }
    texts["expires"] = {pattern: _format_expires(settings, value) for pattern, value in texts["expires"].items()}
    return {
        **{name: (values, "private" if name == "acl" else "") for name, values in texts.items()},
        "metadata": (pattern_maps.parse_metadata_map(settings), ()),
        "tags": (pattern_maps.parse_tag_map(settings), ()),
        "gzip": (pattern_maps.parse_switch_map(settings, "gzip"), False),
    }


def _format_expires(settings: Settings, value: str) -> str:
    try:
        return http_date(value) if value else ""
    except ValueError as error:
        raise settings.bad("expires", f"{value!r} is not a date; {error}") from None


def _choose_encryption(settings: Settings) -> tuple[str, str]:
    """Return the kind of encryption and the KMS key; a key alone means ``aws:kms``."""
    key = pattern_maps.check_header_value(settings, "kms_key_id", settings.kms_key_id or "")
    kind = (settings.encryption or "").strip() or ("aws:kms" if key else "")
    if kind not in ("", *ENCRYPTIONS):
        raise settings.bad("encryption", f"write one of {', '.join(ENCRYPTIONS)}")
    if key and kind == "AES256":
        raise settings.bad("kms_key_id", "a key is for encryption aws:kms only")
    return kind, key
