"""The known CIs, each with its marker and with the variables that hold the facts of a build.

docs/ci.md shows this table (``scripts/regen`` writes it). A function per CI derives facts that no variable holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from s3batch.cli.identity import github
from s3batch.cli.identity.remotes import is_same_repository, parse_remote

Facts = dict[str, str]
Environ = Mapping[str, str]
_NUMBER_AT_END = re.compile(r"/(\d{1,18})/?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One CI."""

    name: str
    title: str
    marker: str
    """The variable that only this CI sets."""
    marked: str = ""
    """The marker's value; empty: anything but false."""
    variables: Mapping[str, tuple[str, ...]]
    """The variables that may hold a fact, the strongest first."""
    complete: Callable[[Facts, Environ], dict[str, Any]]
    """Returns the facts that no variable holds directly."""
    notes: Mapping[str, str]
    """The same in words, by fact, for docs/ci.md."""

    def is_marked(self, environ: Environ) -> bool:
        """Return whether this CI runs the build."""
        text = environ.get(self.marker, "").strip().lower()
        return text == self.marked if self.marked else text not in {"", "0", "false"}


def _merge_variables(facts: Mapping[str, str], first: str) -> dict[str, tuple[str, ...]]:
    """Return the variables of each fact, those that begin with ``first`` before the others."""
    return {
        fact: tuple(sorted(names.split(), key=lambda name: not name.startswith(first)))
        for fact, names in facts.items()
    }  # fmt: skip


_DRONE = {
    "slug": "DRONE_REPO CI_REPO",
    "owner": "DRONE_REPO_OWNER DRONE_REPO_NAMESPACE CI_REPO_OWNER",
    "repo": "DRONE_REPO_NAME CI_REPO_NAME",
    "branch": "DRONE_COMMIT_BRANCH DRONE_BRANCH CI_COMMIT_BRANCH",
    "source_branch": "DRONE_SOURCE_BRANCH CI_COMMIT_SOURCE_BRANCH",
    "target_branch": "DRONE_TARGET_BRANCH CI_COMMIT_TARGET_BRANCH",
    "default_branch": "DRONE_REPO_BRANCH CI_REPO_DEFAULT_BRANCH",
    "tag": "DRONE_TAG CI_COMMIT_TAG",
    "event": "DRONE_BUILD_EVENT CI_PIPELINE_EVENT CI_BUILD_EVENT",
    "pull_request": "DRONE_PULL_REQUEST CI_COMMIT_PULL_REQUEST",
    "message": "DRONE_COMMIT_MESSAGE CI_COMMIT_MESSAGE",
    "number": "DRONE_BUILD_NUMBER CI_PIPELINE_NUMBER CI_BUILD_NUMBER",
    "ref": "DRONE_COMMIT_REF CI_COMMIT_REF",
    "sha": "DRONE_COMMIT_SHA DRONE_COMMIT DRONE_COMMIT_AFTER CI_COMMIT_SHA",
    "before": "DRONE_COMMIT_BEFORE CI_PREV_COMMIT_SHA",
    "link": "DRONE_REPO_LINK CI_REPO_URL CI_REPO_LINK",
    "remote": "DRONE_REMOTE_URL DRONE_GIT_HTTP_URL CI_REPO_CLONE_URL CI_REMOTE_URL",
    "private": "DRONE_REPO_PRIVATE CI_REPO_PRIVATE",
    "trusted": "DRONE_REPO_TRUSTED CI_REPO_TRUSTED",
    "avatar": "DRONE_REPO_AVATAR",
    "commit_link": "DRONE_COMMIT_LINK CI_PIPELINE_FORGE_URL CI_COMMIT_URL",
    "author": "DRONE_COMMIT_AUTHOR CI_COMMIT_AUTHOR",
    "author_name": "DRONE_COMMIT_AUTHOR_NAME CI_COMMIT_AUTHOR_NAME",
    "author_email": "DRONE_COMMIT_AUTHOR_EMAIL CI_COMMIT_AUTHOR_EMAIL",
    "author_avatar": "DRONE_COMMIT_AUTHOR_AVATAR CI_PIPELINE_AVATAR CI_COMMIT_AUTHOR_AVATAR",
    "parent": "DRONE_BUILD_PARENT CI_PIPELINE_PARENT",
    "status": "DRONE_BUILD_STATUS CI_BUILD_STATUS",
    "created": "DRONE_BUILD_CREATED CI_PIPELINE_CREATED",
    "started": "DRONE_BUILD_STARTED CI_PIPELINE_STARTED",
    "finished": "DRONE_BUILD_FINISHED CI_BUILD_FINISHED",
    "deploy": "DRONE_DEPLOY_TO CI_PIPELINE_DEPLOY_TARGET",
    "build_link": "DRONE_BUILD_LINK CI_PIPELINE_URL CI_BUILD_LINK",
    "workspace": "DRONE_WORKSPACE CI_WORKSPACE",
    "card_path": "DRONE_CARD_PATH",
    "output_path": "DRONE_OUTPUT",
    "os": "DRONE_STAGE_OS",
    "arch": "DRONE_STAGE_ARCH",
}
"""Drone, Woodpecker and Harness share these names; each sets its own half or all of them."""
_HARNESS = _merge_variables(_DRONE, "DRONE_") | {
    "number": (*_DRONE["number"].split(), "HARNESS_BUILD_ID")  # its DRONE_ names may be missing in manual runs
}
_DRONE_FORK = {"fork": "a source branch written `owner:branch` means a fork; otherwise unknown"}


def _complete_drone(facts: Facts, environ: Environ) -> dict[str, Any]:
    """Add facts of Drone and Woodpecker: one variable holds ``linux/amd64``, a ref may number a pull request."""
    name = facts["repo"].rpartition("/")[2]  # CI_REPO_NAME is the whole slug in Drone
    slug = facts["slug"] or (facts["repo"] if "/" in facts["repo"] else "")
    number = re.match(r"refs/(?:pull|pull-requests|merge-requests)/(\d+)/", facts["ref"])
    system, _, machine = environ.get("CI_SYSTEM_PLATFORM", "").partition("/")
    found: dict[str, Any] = {
        "slug": slug,
        "repo": name or slug.rpartition("/")[2],
        "owner": facts["owner"] or slug.rpartition("/")[0],
        "pull_request": facts["pull_request"] or (number[1] if number else ""),
        "os": facts["os"] or system,
        "arch": facts["arch"] or machine,
    }
    if found["pull_request"] or facts["event"].startswith("pull_request"):
        owner, colon, _ = facts["source_branch"].partition(":")
        return found | {"fork": owner != found["owner"] if colon else None}
    return found | {"source_branch": "", "target_branch": ""}  # Drone sets both for every event


_GITHUB = {
    "slug": ("GITHUB_REPOSITORY",),
    "source_branch": ("GITHUB_HEAD_REF",),
    "target_branch": ("GITHUB_BASE_REF",),
    "event": ("GITHUB_EVENT_NAME",),
    "number": ("GITHUB_RUN_NUMBER",),
    "ref": ("GITHUB_REF",),
    "sha": ("GITHUB_SHA",),
    "author": ("GITHUB_ACTOR",),
    "workspace": ("GITHUB_WORKSPACE",),
    "github_output": ("GITHUB_OUTPUT",),
    "step_summary": ("GITHUB_STEP_SUMMARY",),
}
_GITHUB_NOTES = {
    "branch": "`GITHUB_REF` below refs/heads/; of a pull request its target branch",
    "tag": "`GITHUB_REF` below refs/tags/",
    "default_branch": "event file: repository.default_branch",
    "pull_request": "event file: pull_request.number, else `GITHUB_REF`",
    "fork": "event file: pull_request.head.repo.full_name is not the base's, or cannot be read",
    "message": "event file: head_commit.message",
}

_GITLAB = {
    "slug": ("CI_PROJECT_PATH",),
    "branch": ("CI_COMMIT_BRANCH", "CI_COMMIT_REF_NAME"),
    "source_branch": ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME"),
    "target_branch": ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME"),
    "default_branch": ("CI_DEFAULT_BRANCH",),
    "tag": ("CI_COMMIT_TAG",),
    "event": ("CI_PIPELINE_SOURCE",),
    "pull_request": ("CI_MERGE_REQUEST_IID", "CI_EXTERNAL_PULL_REQUEST_IID"),
    "message": ("CI_COMMIT_MESSAGE",),
    "number": ("CI_PIPELINE_IID",),
    "ref": ("CI_MERGE_REQUEST_REF_PATH",),
    "sha": ("CI_COMMIT_SHA",),
    "before": ("CI_COMMIT_BEFORE_SHA",),
    "link": ("CI_PROJECT_URL",),
    "remote": ("CI_REPOSITORY_URL",),
    "author": ("CI_COMMIT_AUTHOR",),
    "created": ("CI_PIPELINE_CREATED_AT",),
    "started": ("CI_JOB_STARTED_AT",),
    "build_link": ("CI_PIPELINE_URL",),
    "workspace": ("CI_PROJECT_DIR",),
}


def _complete_gitlab(facts: Facts, environ: Environ) -> dict[str, Any]:
    external = "CI_EXTERNAL_PULL_REQUEST_"
    sources = {
        ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "CI_PROJECT_ID"): "CI_MERGE_REQUEST_",
        (f"{external}SOURCE_REPOSITORY", f"{external}TARGET_REPOSITORY"): external,
    }
    is_pull = facts["event"] in {"merge_request_event", "external_pull_request_event"} or any(
        name.startswith(("CI_MERGE_REQUEST_", external)) and text.strip() for name, text in environ.items()
    )
    if not is_pull:
        return {"branch": "" if facts["tag"] else facts["branch"], "source_branch": "", "target_branch": ""}
    source, own = next(
        (names for names, start in sources.items() if environ.get(f"{start}IID", "").strip()), next(iter(sources))
    )
    told, here = environ.get(source, "").strip(), environ.get(own, "").strip()
    return {"branch": facts["target_branch"], "tag": "", "event": "pull_request", "fork": not told or told != here}


_BUILDKITE = {
    "branch": ("BUILDKITE_BRANCH",),
    "target_branch": ("BUILDKITE_PULL_REQUEST_BASE_BRANCH",),
    "default_branch": ("BUILDKITE_PIPELINE_DEFAULT_BRANCH",),
    "tag": ("BUILDKITE_TAG",),
    "event": ("BUILDKITE_SOURCE",),
    "pull_request": ("BUILDKITE_PULL_REQUEST",),
    "message": ("BUILDKITE_MESSAGE",),
    "number": ("BUILDKITE_BUILD_NUMBER",),
    "sha": ("BUILDKITE_COMMIT",),
    "remote": ("BUILDKITE_REPO",),
    "author": ("BUILDKITE_BUILD_AUTHOR",),
    "author_email": ("BUILDKITE_BUILD_AUTHOR_EMAIL",),
    "build_link": ("BUILDKITE_BUILD_URL",),
    "workspace": ("BUILDKITE_BUILD_CHECKOUT_PATH",),
}


def _complete_buildkite(facts: Facts, environ: Environ) -> dict[str, Any]:
    if facts["pull_request"].lower() in {"", "false"}:
        return {"pull_request": "", "target_branch": "", "branch": "" if facts["tag"] else facts["branch"]}
    theirs = environ.get("BUILDKITE_PULL_REQUEST_REPO", "").strip()
    return {
        "source_branch": facts["branch"], "branch": facts["target_branch"], "tag": "", "event": "pull_request",
        "fork": not is_same_repository(theirs, facts["remote"]),
    }  # fmt: skip


_JENKINS = {
    "branch": ("BRANCH_NAME", "GIT_BRANCH"),
    "source_branch": ("CHANGE_BRANCH",),
    "target_branch": ("CHANGE_TARGET",),
    "tag": ("TAG_NAME",),
    "pull_request": ("CHANGE_ID",),
    "number": ("BUILD_NUMBER",),
    "sha": ("GIT_COMMIT",),
    "before": ("GIT_PREVIOUS_COMMIT",),
    "remote": ("GIT_URL", "GIT_URL_1"),
    "author": ("CHANGE_AUTHOR",),
    "author_name": ("CHANGE_AUTHOR_DISPLAY_NAME",),
    "author_email": ("CHANGE_AUTHOR_EMAIL",),
    "build_link": ("BUILD_URL",),
    "workspace": ("WORKSPACE",),
}


def _complete_jenkins(facts: Facts, environ: Environ) -> dict[str, Any]:
    """Add facts of Jenkins: ``origin/main`` in GIT_BRANCH is the branch main; BRANCH_NAME marks a multibranch job."""
    if facts["pull_request"] or facts["target_branch"] or facts["source_branch"]:
        fork = bool(environ.get("CHANGE_FORK", "").strip())
        return {"branch": facts["target_branch"], "tag": "", "event": "pull_request", "fork": fork}
    named = environ.get("BRANCH_NAME", "").strip()
    branch = named or facts["branch"].removeprefix("refs/remotes/").removeprefix("origin/")
    primary = environ.get("BRANCH_IS_PRIMARY", "").strip().lower() == "true"
    return {
        "branch": "" if facts["tag"] or branch in {"HEAD", "detached"} else branch,
        "default_branch": branch if primary and not facts["tag"] else "",
        "event": "tag" if facts["tag"] else "push",
    }


_CIRCLECI = {
    "owner": ("CIRCLE_PROJECT_USERNAME",),
    "repo": ("CIRCLE_PROJECT_REPONAME",),
    "branch": ("CIRCLE_BRANCH",),
    "tag": ("CIRCLE_TAG",),
    "pull_request": ("CIRCLE_PR_NUMBER", "CIRCLE_PULL_REQUEST", "CIRCLE_PULL_REQUESTS"),
    "number": ("CIRCLE_BUILD_NUM",),
    "sha": ("CIRCLE_SHA1",),
    "remote": ("CIRCLE_REPOSITORY_URL",),
    "author": ("CIRCLE_USERNAME",),
    "build_link": ("CIRCLE_BUILD_URL",),
    "workspace": ("CIRCLE_WORKING_DIRECTORY",),
}


def _complete_circleci(facts: Facts, environ: Environ) -> dict[str, Any]:
    """Add facts of CircleCI: CIRCLE_PULL_REQUEST is a URL, a fork's branch is ``pull/12`` and has CIRCLE_PR_USERNAME."""
    theirs = any(environ.get(f"CIRCLE_PR_{name}", "").strip() for name in ("USERNAME", "REPONAME", "NUMBER"))
    in_branch = re.match(r"pull/(\d{1,18})(?:/|\Z)", facts["branch"])
    if not (facts["pull_request"] or theirs or in_branch):
        return {"branch": "" if facts["tag"] else facts["branch"], "event": "tag" if facts["tag"] else "push"}
    first = facts["pull_request"].split(",")[0].strip()
    in_url = _NUMBER_AT_END.search(first)
    number = first if first.isdigit() else in_url[1] if in_url else in_branch[1] if in_branch else ""
    return {
        "pull_request": number, "source_branch": "" if in_branch else facts["branch"], "branch": "", "tag": "",
        "event": "pull_request", "fork": theirs or bool(in_branch),
    }  # fmt: skip


def with_owner_of_remote(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return owner and repository as variables, slug or the URL of the remote have them; empty where none does."""
    owner, _, name = facts["slug"].strip("/").rpartition("/")
    if facts["owner"] and facts["repo"]:
        return {"owner": facts["owner"], "repo": facts["repo"]}
    if owner:
        return {"owner": owner, "repo": name}
    found = parse_remote(facts["remote"]) or parse_remote(facts["link"])
    if found and facts["repo"] in {"", found.name}:
        return {"owner": found.owner, "repo": found.name}
    return {"owner": facts["owner"], "repo": facts["repo"] or name}


def _github_like(name: str, title: str, marker: str) -> System:
    return System(
        name=name, title=title, marker=marker, variables=_GITHUB, complete=github.complete_facts, notes=_GITHUB_NOTES
    )


UNMARKED = System(
    name="", title="Drone's or Woodpecker's variables without a marker", marker="", variables=_merge_variables(_DRONE, "DRONE_"),
    complete=_complete_drone, notes=_DRONE_FORK,
)  # fmt: skip
"""A plugin step run by hand, or by an old CI with Drone's variables."""

SYSTEMS: tuple[System, ...] = (
    System(
        name="harness", title="Harness", marker="HARNESS_BUILD_ID", variables=_HARNESS,
        complete=_complete_drone, notes=_DRONE_FORK,
    ),
    System(
        name="woodpecker", title="Woodpecker", marker="CI", marked="woodpecker", variables=_merge_variables(_DRONE, "CI_"),
        complete=_complete_drone, notes=_DRONE_FORK,
    ),
    System(
        name="drone", title="Drone", marker="DRONE", variables=_merge_variables(_DRONE, "DRONE_"), complete=_complete_drone,
        notes=_DRONE_FORK,
    ),
    _github_like("forgejo", "Forgejo Actions", "FORGEJO_ACTIONS"),
    _github_like("gitea", "Gitea Actions", "GITEA_ACTIONS"),
    _github_like("github", "GitHub Actions", "GITHUB_ACTIONS"),
    System(
        name="gitlab", title="GitLab CI", marker="GITLAB_CI", variables=_GITLAB, complete=_complete_gitlab,
        notes={
            "branch": "of a merge request its target branch",
            "fork": "`CI_MERGE_REQUEST_SOURCE_PROJECT_ID` is not `CI_PROJECT_ID`, or is missing",
        },
    ),
    System(
        name="buildkite", title="Buildkite", marker="BUILDKITE", variables=_BUILDKITE, complete=_complete_buildkite,
        notes={
            "slug": "the path in `BUILDKITE_REPO`",
            "source_branch": "`BUILDKITE_BRANCH`",
            "fork": "`BUILDKITE_PULL_REQUEST_REPO` names another host, owner or name than `BUILDKITE_REPO`",
        },
    ),
    System(
        name="jenkins", title="Jenkins (multibranch)", marker="JENKINS_URL", variables=_JENKINS,
        complete=_complete_jenkins,
        notes={
            "slug": "the path in `GIT_URL`, else of git's remote",
            "default_branch": "`BRANCH_NAME` where `BRANCH_IS_PRIMARY` is true, else git's origin/HEAD",
            "event": "pull_request, tag or push",
            "fork": "`CHANGE_FORK` is set",
        },
    ),
    System(
        name="circleci", title="CircleCI", marker="CIRCLECI", variables=_CIRCLECI, complete=_complete_circleci,
        notes={
            "slug": "else the path in `CIRCLE_REPOSITORY_URL`",
            "default_branch": "git's origin/HEAD",
            "event": "pull_request, tag or push",
            "fork": "`CIRCLE_PR_USERNAME` is set",
        },
    ),
)  # fmt: skip
"""The systems in the order in which markers are looked for: Harness sets Drone's too, Gitea and Forgejo set GitHub's."""
