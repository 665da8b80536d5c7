"""The identity of a build: owner, repository, branch and more, from the CI's variables, else from git.

An identity is never invented: if neither a CI nor a git remote names it, there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from s3batch.cli.identity.checkout import Checkout, read_checkout
from s3batch.cli.identity.remotes import parse_remote, without_credentials
from s3batch.cli.identity.systems import SYSTEMS, UNMARKED, System, with_owner_of_remote
from s3batch.settings.ci_build import GIT, CIBuild

_ENOUGH = ("slug", "repo", "sha", "event", "message", "number")
"""Facts of which one must be there for variables without a marker to count as a CI's."""


def find_build(environ: Mapping[str, str], directory: str = "") -> CIBuild | None:
    """Return the facts of the build, or ``None`` where neither a CI nor git tells any.

    With ``directory`` the checkout there completes facts that the CI does not give.
    """
    system = next((system for system in SYSTEMS if system.is_marked(environ)), None)
    told = _read_build(system or UNMARKED, environ)
    build = told if system or any(getattr(told, name) for name in _ENOUGH) else None
    if not directory or (build is not None and build.has_repository and build.branch and build.default_branch):
        return build
    checkout = read_checkout(directory)
    if checkout is None:
        return build
    return _complete_build(build, checkout) if build is not None else _of_checkout(checkout)


def _read_build(system: System, environ: Mapping[str, str]) -> CIBuild:
    """Return the facts in one CI's variables, without white space at the ends."""
    names = [name for name in CIBuild.__dataclass_fields__ if name not in {"system", "fork"}]
    facts: dict[str, Any] = {name: _first_set(environ, system.variables.get(name, ())) for name in names}
    facts |= system.complete(facts, environ)
    facts |= with_owner_of_remote(facts)
    facts["slug"] = "/".join(filter(None, (facts["owner"], facts["repo"])))
    facts |= {name: without_credentials(facts[name]) for name in ("remote", "link")}
    return CIBuild(**{"fork": False, **facts}, system=system.name)


def _first_set(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")


def _complete_build(build: CIBuild, checkout: Checkout) -> CIBuild:
    """Return the build, completed with git's facts about the same repository.

    A pull request's branch is never git's, because a CI may check out any commit.
    """
    found = parse_remote(checkout.url)
    if not build.has_repository and found and build.repo in {"", found.name}:
        owner, name = build.owner or found.owner, build.repo or found.name
        build = replace(build, owner=owner, repo=name, slug=f"{owner}/{name}")
    if not found or (build.owner, build.repo) != (found.owner, found.name):
        return build
    known = build.branch or build.tag or build.is_pull_request
    return replace(
        build,
        branch=build.branch if known else checkout.branch,
        default_branch=build.default_branch or checkout.default_branch,
    )


def _of_checkout(checkout: Checkout) -> CIBuild:
    found = parse_remote(checkout.url)
    return CIBuild(
        system=GIT,
        owner=found.owner if found else "",
        repo=found.name if found else "",
        slug=f"{found.owner}/{found.name}" if found else "",
        remote=without_credentials(checkout.url),
        branch=checkout.branch,
        default_branch=checkout.default_branch,
        fork=False,
    )
