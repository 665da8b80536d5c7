"""The variables that real CIs set for a build of acme/web: a push, a tag, a pull request, a fork's pull request.

From the documentation and the runners' sources of each CI; names that say nothing about a build are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Environment = dict[str, str]

PUSH, TAG, PULL, FORK = "push", "tag", "pull request", "fork"
KINDS = (PUSH, TAG, PULL, FORK)
SHA = "8e5f3a1b0c9d4e7f8a6b5c4d3e2f1a0b9c8d7e6f"
MESSAGE = "Mend the site\n\nwith care"


def drone(kind: str, event_file: Path | None = None) -> Environment:
    """https://docs.drone.io/pipeline/environment/reference/"""
    pull, tag = kind in {PULL, FORK}, kind == TAG
    branch = "main" if pull else "" if tag else "feat/x"
    ref = "refs/pull/12/head" if pull else "refs/tags/v1.2" if tag else "refs/heads/feat/x"
    said = {
        "CI": "true", "DRONE": "true", "CI_REPO": "acme/web", "CI_REPO_NAME": "acme/web", "DRONE_REPO": "acme/web",
        "DRONE_REPO_OWNER": "acme", "DRONE_REPO_NAMESPACE": "acme", "DRONE_REPO_NAME": "web",
        "DRONE_REPO_BRANCH": "main", "DRONE_REPO_LINK": "https://git.example.com/acme/web",
        "DRONE_REPO_PRIVATE": "false", "DRONE_REPO_VISIBILITY": "public", "DRONE_REPO_SCM": "",
        "DRONE_REMOTE_URL": "https://git.example.com/acme/web.git",
        "DRONE_GIT_HTTP_URL": "https://git.example.com/acme/web.git",
        "DRONE_GIT_SSH_URL": "git@git.example.com:acme/web.git", "DRONE_BRANCH": branch, "DRONE_COMMIT_BRANCH": branch,
        "DRONE_SOURCE_BRANCH": "feat/x", "DRONE_TARGET_BRANCH": branch, "DRONE_COMMIT_REF": ref,
        "DRONE_COMMIT": SHA, "DRONE_COMMIT_SHA": SHA, "DRONE_COMMIT_AFTER": SHA, "DRONE_COMMIT_MESSAGE": MESSAGE,
        "DRONE_COMMIT_AUTHOR": "octocat", "DRONE_BUILD_EVENT": "pull_request" if pull else kind,
        "DRONE_BUILD_NUMBER": "42", "DRONE_BUILD_STATUS": "success", "DRONE_STAGE_OS": "linux",
        "DRONE_STAGE_ARCH": "amd64", "DRONE_WORKSPACE": "/drone/src",
    }  # fmt: skip
    return said | ({"DRONE_PULL_REQUEST": "12"} if pull else {}) | ({"DRONE_TAG": "v1.2"} if tag else {})


def harness(kind: str, event_file: Path | None = None) -> Environment:
    """Drone's variables beside Harness's own."""
    own = {
        "HARNESS_BUILD_ID": "42", "HARNESS_ACCOUNT_ID": "aBc", "HARNESS_ORG_ID": "default", "HARNESS_PROJECT_ID": "web",
        "HARNESS_PIPELINE_ID": "build", "HARNESS_WORKSPACE": "/harness",
    }  # fmt: skip
    return drone(kind) | own


def woodpecker(kind: str, event_file: Path | None = None) -> Environment:
    """https://woodpecker-ci.org/docs/usage/environment; beside CI_ it sets some of Drone's for its plugins."""
    pull, tag = kind in {PULL, FORK}, kind == TAG
    branch = "main" if pull else "" if tag else "feat/x"
    said = {
        "CI": "woodpecker", "CI_REPO": "acme/web", "CI_REPO_OWNER": "acme", "CI_REPO_NAME": "web",
        "CI_REPO_DEFAULT_BRANCH": "main", "CI_REPO_URL": "https://git.example.com/acme/web",
        "CI_REPO_CLONE_URL": "https://git.example.com/acme/web.git", "CI_REPO_PRIVATE": "false",
        "CI_COMMIT_SHA": SHA, "CI_COMMIT_BRANCH": branch, "CI_COMMIT_MESSAGE": MESSAGE, "CI_COMMIT_AUTHOR": "octocat",
        "CI_COMMIT_REF": "refs/pull/12/head" if pull else "refs/tags/v1.2" if tag else "refs/heads/feat/x",
        "CI_PIPELINE_NUMBER": "42", "CI_PIPELINE_EVENT": "pull_request" if pull else kind, "CI_STEP_NAME": "cache",
        "CI_PIPELINE_URL": "https://ci/42", "CI_WORKSPACE": "/woodpecker/src", "CI_SYSTEM_PLATFORM": "linux/amd64",
        "CI_SYSTEM_NAME": "woodpecker", "DRONE_REPO": "acme/web", "DRONE_REPO_OWNER": "acme", "DRONE_REPO_NAME": "web",
        "DRONE_REPO_BRANCH": "main", "DRONE_BRANCH": branch, "DRONE_COMMIT_BRANCH": branch,
        "DRONE_BUILD_EVENT": "pull_request" if pull else kind, "DRONE_COMMIT_MESSAGE": MESSAGE,
    }  # fmt: skip
    pulled = {
        "CI_COMMIT_PULL_REQUEST": "12", "CI_COMMIT_SOURCE_BRANCH": "feat/x", "CI_COMMIT_TARGET_BRANCH": "main",
        "DRONE_PULL_REQUEST": "12", "DRONE_SOURCE_BRANCH": "feat/x", "DRONE_TARGET_BRANCH": "main",
    }  # fmt: skip
    return said | (pulled if pull else {}) | ({"CI_COMMIT_TAG": "v1.2", "DRONE_TAG": "v1.2"} if tag else {})


def github(kind: str, event_file: Path | None = None) -> Environment:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/variables"""
    pull, tag = kind in {PULL, FORK}, kind == TAG
    ref = "refs/pull/12/merge" if pull else "refs/tags/v1.2" if tag else "refs/heads/feat/x"
    if event_file is not None:
        event_file.write_text(json.dumps(github_event(kind)))
    return {
        "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/web", "GITHUB_REPOSITORY_OWNER": "acme",
        "GITHUB_REPOSITORY_ID": "123", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_WORKFLOW": "build",
        "GITHUB_REF": ref, "GITHUB_REF_NAME": "12/merge" if pull else ref.partition("/")[2].partition("/")[2],
        "GITHUB_REF_TYPE": "tag" if tag else "branch", "GITHUB_REF_PROTECTED": "false", "GITHUB_SHA": SHA,
        "GITHUB_HEAD_REF": "feat/x" if pull else "", "GITHUB_BASE_REF": "main" if pull else "",
        "GITHUB_EVENT_NAME": "pull_request" if pull else "push", "GITHUB_EVENT_PATH": str(event_file or ""),
        "GITHUB_RUN_ID": "9000", "GITHUB_RUN_NUMBER": "42", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_ACTOR": "octocat",
        "GITHUB_JOB": "test", "GITHUB_WORKSPACE": "/home/runner/work/web/web", "RUNNER_OS": "Linux",
    }  # fmt: skip


def gitea(kind: str, event_file: Path | None = None) -> Environment:
    """https://docs.gitea.com/usage/actions: GitHub's names."""
    return github(kind, event_file) | {"GITEA_ACTIONS": "true", "GITHUB_SERVER_URL": "https://git.example.com"}


def forgejo(kind: str, event_file: Path | None = None) -> Environment:
    """https://forgejo.org/docs/latest/user/actions/reference/: GitHub's names; Gitea's marker stayed for a while."""
    return gitea(kind, event_file) | {"FORGEJO_ACTIONS": "true"}


def github_event(kind: str) -> dict[str, Any]:
    """The event file, as far as it tells whose build it is."""
    event: dict[str, Any] = {"repository": {"full_name": "acme/web", "default_branch": "main", "fork": False}}
    if kind in {PULL, FORK}:
        head = {"ref": "feat/x", "repo": {"full_name": "mallory/web" if kind == FORK else "acme/web"}}
        base = {"ref": "main", "repo": {"full_name": "acme/web", "default_branch": "main"}}
        return event | {"action": "opened", "number": 12, "pull_request": {"number": 12, "head": head, "base": base}}
    return event | {"head_commit": {"id": SHA, "message": MESSAGE}}


def gitlab(kind: str, event_file: Path | None = None) -> Environment:
    """https://docs.gitlab.com/ci/variables/predefined_variables/"""
    pull, tag = kind in {PULL, FORK}, kind == TAG
    said = {
        "CI": "true", "GITLAB_CI": "true", "CI_PROJECT_PATH": "acme/web", "CI_PROJECT_NAMESPACE": "acme",
        "CI_PROJECT_ROOT_NAMESPACE": "acme", "CI_PROJECT_NAME": "web", "CI_PROJECT_ID": "7",
        "CI_PROJECT_URL": "https://gitlab.com/acme/web", "CI_DEFAULT_BRANCH": "main", "CI_SERVER_HOST": "gitlab.com",
        "CI_REPOSITORY_URL": "https://gitlab-ci-token:glcbt-64_secret@gitlab.com/acme/web.git",
        "CI_COMMIT_SHA": SHA, "CI_COMMIT_REF_NAME": "v1.2" if tag else "feat/x", "CI_COMMIT_REF_SLUG": "feat-x",
        "CI_COMMIT_MESSAGE": MESSAGE, "CI_COMMIT_TITLE": "Mend the site", "CI_COMMIT_AUTHOR": "O <o@example.com>",
        "CI_PIPELINE_ID": "4242", "CI_PIPELINE_IID": "42", "CI_JOB_ID": "1", "CI_PROJECT_DIR": "/builds/acme/web",
        "CI_PIPELINE_SOURCE": "merge_request_event" if pull else "push",
        "CI_PIPELINE_URL": "https://gitlab.com/acme/web/-/pipelines/4242",
    }  # fmt: skip
    pulled = {
        "CI_MERGE_REQUEST_ID": "99", "CI_MERGE_REQUEST_IID": "12", "CI_MERGE_REQUEST_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_PROJECT_PATH": "acme/web", "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/12/head",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feat/x", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "8" if kind == FORK else "7",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "mallory/web" if kind == FORK else "acme/web",
        "CI_MERGE_REQUEST_EVENT_TYPE": "detached", "CI_MERGE_REQUEST_TITLE": "Mend",
    }  # fmt: skip
    return said | (pulled if pull else {"CI_COMMIT_TAG": "v1.2"} if tag else {"CI_COMMIT_BRANCH": "feat/x"})


def buildkite(kind: str, event_file: Path | None = None) -> Environment:
    """https://buildkite.com/docs/pipelines/configure/environment-variables"""
    pull, tag = kind in {PULL, FORK}, kind == TAG
    theirs = "https://github.com/mallory/web.git" if kind == FORK else "https://github.com/acme/web.git"
    return {
        "CI": "true", "BUILDKITE": "true", "BUILDKITE_ORGANIZATION_SLUG": "acme-inc", "BUILDKITE_PIPELINE_SLUG": "web-ci",
        "BUILDKITE_REPO": "git@github.com:acme/web.git", "BUILDKITE_PIPELINE_DEFAULT_BRANCH": "main",
        "BUILDKITE_BRANCH": "v1.2" if tag else "mallory:feat/x" if kind == FORK else "feat/x",
        "BUILDKITE_TAG": "v1.2" if tag else "", "BUILDKITE_COMMIT": SHA, "BUILDKITE_MESSAGE": MESSAGE,
        "BUILDKITE_SOURCE": "webhook", "BUILDKITE_BUILD_NUMBER": "42", "BUILDKITE_BUILD_AUTHOR": "octocat",
        "BUILDKITE_PULL_REQUEST": "12" if pull else "false", "BUILDKITE_PULL_REQUEST_REPO": theirs if pull else "",
        "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main" if pull else "",
        "BUILDKITE_BUILD_URL": "https://buildkite.com/acme-inc/web-ci/builds/42",
        "BUILDKITE_BUILD_CHECKOUT_PATH": "/var/lib/buildkite/builds/a/acme-inc/web-ci",
    }  # fmt: skip


def jenkins(kind: str, event_file: Path | None = None) -> Environment:
    """A multibranch job: https://www.jenkins.io/doc/book/pipeline/multibranch/ and plugin branch-api."""
    pull, tag = kind in {PULL, FORK}, kind == TAG
    name = "PR-12" if pull else "v1.2" if tag else "feat/x"
    said = {
        "CI": "true", "JENKINS_URL": "https://jenkins.example.com/", "JOB_NAME": f"acme/web/{name}", "BUILD_NUMBER": "42",
        "BUILD_URL": "https://jenkins.example.com/job/acme/job/web/42/", "BRANCH_NAME": name, "GIT_BRANCH": name,
        "GIT_COMMIT": SHA, "GIT_URL": "https://github.com/acme/web.git", "WORKSPACE": "/var/jenkins/workspace/web",
    }  # fmt: skip
    pulled = {
        "CHANGE_ID": "12", "CHANGE_TARGET": "main", "CHANGE_BRANCH": "feat/x", "CHANGE_AUTHOR": "octocat",
        "CHANGE_URL": "https://github.com/acme/web/pull/12", "CHANGE_TITLE": "Mend",
    }  # fmt: skip
    forked = {"CHANGE_FORK": "mallory"} if kind == FORK else {}
    tagged = {"TAG_NAME": "v1.2", "TAG_TIMESTAMP": "1790000000000"} if tag else {}
    return said | (pulled if pull else {}) | forked | tagged


def circleci(kind: str, event_file: Path | None = None) -> Environment:
    """https://circleci.com/docs/reference/variables/"""
    said = {
        "CI": "true", "CIRCLECI": "true", "CIRCLE_PROJECT_USERNAME": "acme", "CIRCLE_PROJECT_REPONAME": "web",
        "CIRCLE_REPOSITORY_URL": "git@github.com:acme/web.git", "CIRCLE_SHA1": SHA, "CIRCLE_BUILD_NUM": "42",
        "CIRCLE_USERNAME": "octocat", "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/web/42", "CIRCLE_JOB": "test",
    }  # fmt: skip
    url = "https://github.com/acme/web/pull/12"
    pulled = {"CIRCLE_PULL_REQUEST": url, "CIRCLE_PULL_REQUESTS": url}
    return said | {
        PUSH: {"CIRCLE_BRANCH": "feat/x"},
        TAG: {"CIRCLE_TAG": "v1.2"},
        PULL: {"CIRCLE_BRANCH": "feat/x", **pulled},
        FORK: {
            "CIRCLE_BRANCH": "pull/12", **pulled, "CIRCLE_PR_NUMBER": "12", "CIRCLE_PR_USERNAME": "mallory",
            "CIRCLE_PR_REPONAME": "web",
        },
    }[kind]  # fmt: skip


CIS = {
    "drone": drone, "woodpecker": woodpecker, "harness": harness, "github": github, "gitea": gitea, "forgejo": forgejo,
    "gitlab": gitlab, "buildkite": buildkite, "jenkins": jenkins, "circleci": circleci,
}  # fmt: skip
TELLS_NO_FORKS = frozenset({"drone", "woodpecker", "harness"})
TELLS_NO_DEFAULT_BRANCH = frozenset({"jenkins", "circleci"})
TELLS_NO_TARGET = frozenset({"circleci"})
TELLS_NO_MESSAGE = frozenset({"jenkins", "circleci"})
