"""The facts of a CI about the build. :mod:`s3batch.cli.identity.find` fills them in; the cache and the reports read them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

GIT = "git"
"""The system of a run outside a CI: only git's remote and HEAD say whose it is."""
_STEP_FILES = ("card_path", "output_path", "github_output", "step_summary")
"""Fields that name files of one step."""
_KIN_OF_DRONE = frozenset({"", "drone", "harness", "woodpecker"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CIBuild:
    """Facts of one build; an empty field means that the CI did not say."""

    system: str = ""
    """``drone``, ``github`` or another CI's name in :mod:`s3batch.cli.identity.systems`; :data:`GIT` outside a CI."""
    owner: str = ""
    repo: str = ""
    """The bare name, without the owner."""
    slug: str = ""
    """``owner/repo``."""
    link: str = ""
    """The link to the repository."""
    remote: str = ""
    """Where the repository is cloned from."""
    private: str = ""
    trusted: str = ""
    avatar: str = ""
    """The avatar of the repository's owner."""
    default_branch: str = ""
    branch: str = ""
    """The branch that is built; for a pull request its target branch."""
    source_branch: str = ""
    """Of a pull request; empty for other events."""
    target_branch: str = ""
    """Of a pull request; empty for other events."""
    sha: str = ""
    before: str = ""
    ref: str = ""
    commit_link: str = ""
    message: str = ""
    """The whole commit message, several lines."""
    author: str = ""
    author_name: str = ""
    author_email: str = ""
    author_avatar: str = ""
    event: str = ""
    """``push``, ``pull_request``, ``tag``, ``cron``..."""
    number: str = ""
    parent: str = ""
    status: str = ""
    created: str = ""
    started: str = ""
    finished: str = ""
    deploy: str = ""
    build_link: str = ""
    pull_request: str = ""
    """The number of the pull request; empty if there is none."""
    fork: bool | None = None
    """True if the pull request comes from another repository; ``None`` where the CI does not say."""
    tag: str = ""
    workspace: str = ""
    """Absolute path of the clone."""
    os: str = ""
    arch: str = ""
    """The architecture as Go names it: ``amd64``, ``arm64``."""
    card_path: str = ""
    """Where Drone takes a card from."""
    output_path: str = ""
    """The file Harness reads ``key=value`` lines from."""
    github_output: str = ""
    """The file GitHub Actions reads outputs from; Gitea and Forgejo have it too."""
    step_summary: str = ""
    """The file GitHub Actions shows as the summary of a step."""

    @property
    def has_repository(self) -> bool:
        """True if the repository and its owner are known."""
        return bool(self.owner and self.repo)

    @property
    def is_of_drone(self) -> bool:
        """True if the CI is Drone or one that runs Drone's plugins: only there did other cache plugins run before."""
        return self.system in _KIN_OF_DRONE

    @property
    def is_pull_request(self) -> bool:
        """True if others than the repository's own people may have written what is built."""
        return bool(self.pull_request) or self.event.startswith("pull_request")

    def with_files_of(self, step: CIBuild | None) -> CIBuild:
        """Return the build with the files of another step: those of a resumed job are of a step that is over."""
        files: dict[str, Any] = {name: getattr(step, name, "") for name in _STEP_FILES}
        return replace(self, **files)

    def public(self) -> dict[str, Any]:
        """Return the fields that are not empty, JSON-able, for the journal."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}

    @classmethod
    def from_public(cls, values: dict[str, Any]) -> Self:
        """Return the build that :meth:`public` wrote; unknown names of a later version are left out."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})
