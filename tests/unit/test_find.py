"""Whose build it is: each CI's own variables, hostile ones, event files."""

from __future__ import annotations

import json
import os

import pytest

from s3batch.cache import object_keys
from s3batch.cache.naming import build_of
from s3batch.cli.identity.find import find_build
from s3batch.cli.identity.remotes import Repository, parse_remote, without_credentials
from s3batch.cli.identity.systems import SYSTEMS
from s3batch.settings.ci_build import CIBuild
from s3batch.settings.table import Settings
from tests.rig import builds
from tests.rig.builds import CIS, FORK, PULL, PUSH, TAG


def facts(build, *names):
    return tuple(getattr(build, name) for name in names)


def scopes(build: CIBuild) -> tuple[str | None, list[str]]:
    """Where a cache of this build is written and looked for."""
    found = object_keys.scopes_of_build(build_of(Settings(build=build)))
    return found.write, list(found.read)


@pytest.fixture
def told(tmp_path):
    """``told("github", FORK)``: the build that this CI's variables tell of."""

    def build(name: str, kind: str, **more: str) -> CIBuild:
        return find_build(CIS[name](kind, tmp_path / "event.json") | more)

    return build


@pytest.mark.parametrize("name", CIS)
@pytest.mark.parametrize("kind", builds.KINDS)
def test_each_ci_tells_whose_build_it_is(told, name, kind):
    build = told(name, kind)

    default = "" if name in builds.TELLS_NO_DEFAULT_BRANCH else "main"
    message = (
        ""
        if name in builds.TELLS_NO_MESSAGE or (kind in {PULL, FORK} and "GITHUB_SHA" in CIS[name](kind))
        else builds.MESSAGE
    )
    assert facts(build, "system", "owner", "repo", "slug") == (name, "acme", "web", "acme/web")
    assert facts(build, "default_branch", "number", "message", "sha") == (default, "42", message, builds.SHA)
    assert build.is_pull_request is (kind in {PULL, FORK})
    assert facts(build, "tag", "pull_request") == ("v1.2" if kind == TAG else "", "12" if kind in {PULL, FORK} else "")
    if kind == PUSH:
        assert facts(build, "branch", "source_branch", "target_branch", "fork") == ("feat/x", "", "", False)


@pytest.mark.parametrize("name", CIS)
def test_a_push_writes_its_branch_and_reads_towards_the_default_branch(told, name):
    write, read = scopes(told(name, PUSH))

    default = [] if name in builds.TELLS_NO_DEFAULT_BRANCH else ["acme/web/main"]
    assert (write, read) == ("acme/web/feat%2Fx", ["acme/web/feat%2Fx", *default])


@pytest.mark.parametrize("name", CIS)
def test_a_tag_writes_a_scope_of_its_own(told, name):
    assert scopes(told(name, TAG))[0] == "acme/web/~tag-v1.2"


@pytest.mark.parametrize("name", CIS)
def test_a_pull_request_writes_its_own_scope_and_reads_own_target_default(told, name):
    write, read = scopes(told(name, PULL))

    others = [] if name in builds.TELLS_NO_TARGET else ["acme/web/main"]
    assert (write, read) == ("acme/web/~pr-12", ["acme/web/~pr-12", *others])


@pytest.mark.parametrize("name", CIS)
def test_a_fork_writes_nothing_where_the_ci_tells_forks(told, name):
    write, read = scopes(told(name, FORK))

    others = [] if name in builds.TELLS_NO_TARGET else ["acme/web/main"]
    assert write == ("acme/web/~pr-12" if name in builds.TELLS_NO_FORKS else None)
    assert read == ["acme/web/~pr-12", *others]


@pytest.mark.parametrize("name", CIS)
@pytest.mark.parametrize(
    "other", [name for name in CIS if name not in {"harness", "drone", "gitea", "forgejo", "github"}]
)
def test_the_marker_decides_where_another_cis_variables_are_there_too(told, name, other, tmp_path):
    stray = {text: f"stray-{value}" for text, value in CIS[other](PUSH).items()}
    markers = {system.marker for system in SYSTEMS}
    kept = {variable: value for variable, value in stray.items() if variable not in markers | {"CI"}}

    build = find_build(kept | CIS[name](PUSH, tmp_path / "event.json"))

    assert facts(build, "system", "slug") == (name, "acme/web")
    assert not build.is_pull_request


def test_ci_true_alone_is_no_marker():
    assert find_build({"CI": "true", "PATH": "/bin", "GITHUB_REPOSITORY": "acme/web"}) is None


@pytest.mark.parametrize("text", ["", "false", "0", " "])
def test_a_marker_that_is_switched_off_is_none(text):
    assert find_build(builds.github(PUSH) | {"GITHUB_ACTIONS": text}) is None


# --- GitHub's event file -----------------------------------------------------------------------


def github(tmp_path, event: object, **more: str) -> CIBuild:
    path = tmp_path / "event.json"
    environ = builds.github(PULL, path)
    path.write_text(event if isinstance(event, str) else json.dumps(event))
    return find_build(environ | more)


def pull(head: object, base: object = "acme/web") -> dict[str, object]:
    return {"pull_request": {"number": 12, "head": {"repo": head}, "base": {"repo": {"full_name": base}}}}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut"),
        pytest.param("[]", id="a list"),
        pytest.param("[" * 200_000, id="nested without end"),
        pytest.param('{"pull_request": 1}', id="a number for a map"),
        pytest.param('{"number": ' + "9" * 5000 + "}", id="a number of 5,000 digits"),
        pytest.param(b"\xff\xfe\x00{".decode("latin-1"), id="not JSON"),
        pytest.param(pull(None), id="a fork that was deleted"),
        pytest.param(pull({}), id="no name"),
        pytest.param(pull({"full_name": ["acme/web"]}), id="a list for a name"),
        pytest.param(pull({"full_name": "Acme/web"}), id="another case"),
        pytest.param(pull({"full_name": "acme/web/"}), id="a slash more"),
    ],
)
def test_a_pull_request_whose_event_cannot_be_read_writes_nothing(tmp_path, event):
    build = github(tmp_path, event)

    assert build.is_pull_request
    assert scopes(build) == (None, ["acme/web/~pr-12", "acme/web/main"])


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "missing", "too large"])
def test_an_event_file_that_is_no_plain_file_is_not_read(tmp_path, kind):
    path = tmp_path / "odd"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "too large":
        path.write_bytes(json.dumps(pull({"full_name": "acme/web"})).encode())
        os.truncate(path, 26 << 20)
    path = "/dev/zero" if kind == "device" else path

    build = find_build(builds.github(PULL) | {"GITHUB_EVENT_PATH": str(path)})

    assert scopes(build)[0] is None


@pytest.mark.parametrize("event", ["pull_request_target", "pull_request_review", "pull_request"])
def test_every_event_of_a_pull_request_counts_as_one(tmp_path, event):
    build = github(
        tmp_path,
        builds.github_event(PULL),
        GITHUB_EVENT_NAME=event,
        GITHUB_REF="refs/heads/main",
        GITHUB_HEAD_REF="feat/x",
    )

    assert scopes(build) == ("acme/web/~pr-12", ["acme/web/~pr-12", "acme/web/main"])


def test_a_comment_on_a_pull_request_may_build_a_strangers_code(tmp_path):
    event = {"issue": {"number": 12, "pull_request": {"url": "x"}}, "repository": {"default_branch": "main"}}

    build = github(
        tmp_path,
        event,
        GITHUB_EVENT_NAME="issue_comment",
        GITHUB_REF="refs/heads/main",
        GITHUB_HEAD_REF="",
        GITHUB_BASE_REF="",
    )

    assert scopes(build) == (None, ["acme/web/~pr-12", "acme/web/main"])


@pytest.mark.parametrize(
    ("event", "ref", "write"),
    [
        pytest.param("schedule", "refs/heads/main", "acme/web/main", id="schedule"),
        pytest.param("workflow_run", "refs/heads/main", "acme/web/main", id="workflow_run"),
        pytest.param("workflow_dispatch", "refs/heads/rel/2", "acme/web/rel%2F2", id="workflow_dispatch"),
        pytest.param("release", "refs/tags/v2", "acme/web/~tag-v2", id="release"),
        pytest.param(
            "merge_group", "refs/heads/gh-readonly-queue/main/pr-12-abc",
            "acme/web/gh-readonly-queue%2Fmain%2Fpr-12-abc", id="merge_group",
        ),
    ],
)  # fmt: skip
def test_other_events_go_by_their_ref(tmp_path, event, ref, write):
    build = github(
        tmp_path,
        builds.github_event(PUSH),
        GITHUB_EVENT_NAME=event,
        GITHUB_REF=ref,
        GITHUB_HEAD_REF="",
        GITHUB_BASE_REF="",
    )

    assert scopes(build)[0] == write


# --- what else may be odd ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "more"),
    [
        pytest.param("gitlab", {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": ""}, id="GitLab leaves the source out"),
        pytest.param("gitlab", {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "77"}, id="GitLab, an id that begins alike"),
        pytest.param("buildkite", {"BUILDKITE_PULL_REQUEST_REPO": ""}, id="Buildkite leaves the source out"),
        pytest.param("buildkite", {"BUILDKITE_PULL_REQUEST_REPO": "git://evil.com/acme/web.git"}, id="another host"),
        pytest.param("buildkite", {"BUILDKITE_PULL_REQUEST_REPO": "https://github.com/acme/web2"}, id="another name"),
        pytest.param("buildkite", {"BUILDKITE_REPO": "/srv/web.git"}, id="a local repository"),
        pytest.param("jenkins", {"CHANGE_FORK": "mallory/other"}, id="Jenkins, owner and name"),
        pytest.param("circleci", {"CIRCLE_PR_USERNAME": "mallory"}, id="CircleCI"),
    ],
)
def test_a_pull_request_of_which_it_is_not_sure_writes_nothing(told, name, more):
    assert scopes(told(name, PULL, **more))[0] is None


@pytest.mark.parametrize(
    "theirs", ["git://github.com/acme/web.git", "ssh://git@GitHub.com:22/acme/web", "https://x:y@github.com/acme/web/"]
)
def test_buildkite_compares_repositories_and_no_protocols(told, theirs):
    assert scopes(told("buildkite", PULL, BUILDKITE_PULL_REQUEST_REPO=theirs))[0] == "acme/web/~pr-12"


MAIN, QUEUE = "acme/web/main", "acme/web/gh-readonly-queue%2Fmain%2Fpr-12-abc"
PR = "acme/web/~pr-12"
NO_REPOSITORY = {"CIRCLE_PROJECT_USERNAME": "", "CIRCLE_PROJECT_REPONAME": ""}
FURTHER_EVENTS = [
    pytest.param("gitlab", PUSH, {"CI_PIPELINE_SOURCE": "schedule"}, ["acme/web/feat%2Fx", MAIN], id="GitLab, schedule"),
    pytest.param("gitlab", PUSH, {"CI_PIPELINE_SOURCE": "web"}, ["acme/web/feat%2Fx", MAIN], id="GitLab, by hand"),
    pytest.param("gitlab", TAG, {"CI_PIPELINE_SOURCE": "api"}, ["acme/web/~tag-v1.2", MAIN], id="GitLab, a tag by API"),
    pytest.param("gitlab", PULL, {"CI_PIPELINE_SOURCE": "parent_pipeline"}, [PR, MAIN], id="GitLab, child of a merge request"),
    pytest.param("gitlab", PULL, {"CI_MERGE_REQUEST_EVENT_TYPE": "merge_train"}, [PR, MAIN], id="GitLab, merge train"),
    pytest.param(
        "gitlab", PUSH, {"CI_OPEN_MERGE_REQUESTS": "acme/web!12"}, ["acme/web/feat%2Fx", MAIN],
        id="GitLab, a branch with an open merge request",
    ),
    pytest.param(
        "buildkite", PUSH,
        {"BUILDKITE_BRANCH": "gh-readonly-queue/main/pr-12-abc", "BUILDKITE_MERGE_QUEUE_BASE_BRANCH": "main"},
        [QUEUE, MAIN], id="Buildkite, merge queue",
    ),
    pytest.param("buildkite", PUSH, {"BUILDKITE_SOURCE": "schedule"}, ["acme/web/feat%2Fx", MAIN], id="Buildkite, schedule"),
    pytest.param("buildkite", PUSH, {"BUILDKITE_PULL_REQUEST": ""}, ["acme/web/feat%2Fx", MAIN], id="Buildkite, by API"),
    pytest.param("woodpecker", PUSH, {"CI_PIPELINE_EVENT": "cron"}, ["acme/web/feat%2Fx", MAIN], id="Woodpecker, cron"),
    pytest.param("woodpecker", PUSH, {"CI_PIPELINE_EVENT": "manual"}, ["acme/web/feat%2Fx", MAIN], id="Woodpecker, by hand"),
    pytest.param("woodpecker", TAG, {"CI_PIPELINE_EVENT": "release"}, ["acme/web/~tag-v1.2", MAIN], id="Woodpecker, release"),
    pytest.param("woodpecker", PULL, {"CI_PIPELINE_EVENT": "pull_request_closed"}, [PR, MAIN], id="Woodpecker, closed"),
    pytest.param("drone", PUSH, {"DRONE_BUILD_EVENT": "cron"}, ["acme/web/feat%2Fx", MAIN], id="Drone, cron"),
    pytest.param("drone", PUSH, {"DRONE_BUILD_EVENT": "promote"}, ["acme/web/feat%2Fx", MAIN], id="Drone, promote"),
    pytest.param("harness", PUSH, {"DRONE_BUILD_EVENT": ""}, ["acme/web/feat%2Fx", MAIN], id="Harness, by hand"),
    pytest.param("circleci", PUSH, NO_REPOSITORY, ["acme/web/feat%2Fx"], id="CircleCI with GitHub's app"),
    pytest.param("jenkins", PUSH, {"BRANCH_NAME": "", "GIT_BRANCH": "origin/main"}, [MAIN], id="Jenkins, a job of one branch"),
    pytest.param("gitea", PUSH, {"GITHUB_EVENT_NAME": "schedule"}, ["acme/web/feat%2Fx", MAIN], id="Gitea, schedule"),
    pytest.param(
        "github", PUSH, {"GITHUB_WORKFLOW_REF": "other/shared/.github/workflows/build.yml@refs/tags/v1"},
        ["acme/web/feat%2Fx", MAIN], id="GitHub, a reusable workflow of another repository",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "more", "read"), FURTHER_EVENTS)
def test_further_events_go_by_branch_tag_or_pull_request(told, name, kind, more, read):
    build = told(name, kind, **more)

    assert scopes(build) == (read[0], read)


def test_an_external_pull_request_of_gitlab_is_one_too(told):
    more = {
        "CI_PIPELINE_SOURCE": "external_pull_request_event", "CI_EXTERNAL_PULL_REQUEST_IID": "12",
        "CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY": "mallory/web",
        "CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY": "acme/web",
        "CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME": "main",
    }  # fmt: skip

    assert scopes(told("gitlab", PUSH, **more)) == (None, ["acme/web/~pr-12", "acme/web/main"])


def test_groups_of_gitlab_are_one_component(told):
    build = told("gitlab", PUSH, CI_PROJECT_PATH="acme/team/sub/web")

    assert facts(build, "owner", "repo") == ("acme/team/sub", "web")
    assert scopes(build)[0] == "acme%2Fteam%2Fsub/web/feat%2Fx"


def test_names_that_differ_in_case_are_different(told):
    one, other = (scopes(told("gitlab", PUSH, CI_PROJECT_PATH=path))[0] for path in ("Acme/web", "acme/web"))

    assert one != other


@pytest.mark.parametrize(
    "branch", ["../../main", "~pr-12", "a/../../b/main", "main/../x", "%2e%2e", "v1/k", "ä\u202e", "."]
)
@pytest.mark.parametrize("name", ["gitlab", "buildkite", "jenkins", "circleci", "woodpecker"])
def test_no_name_of_a_branch_leads_out_of_the_repository(told, name, branch):
    variables = dict.fromkeys(
        ("CI_COMMIT_BRANCH", "CI_COMMIT_REF_NAME", "BUILDKITE_BRANCH", "BRANCH_NAME", "CIRCLE_BRANCH"), branch
    )

    write, _ = scopes(told(name, PUSH, **variables))

    assert write.startswith("acme/web/")
    assert write.count("/") == 2
    assert write.rpartition("/")[2] not in {".", "..", "~pr-12", "main"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"DRONE_REPO": "o/r"}, ("o", "r", "o/r"), id="only the slug"),
        pytest.param({"CI_REPO_NAME": "o/r"}, ("o", "r", "o/r"), id="the slug in CI_REPO_NAME, as in Drone"),
        pytest.param({"DRONE_REPO_NAME": "r"}, ("", "r", "r"), id="only a name, as in drone-s3cache"),
        pytest.param({"DRONE_REPO": "g/sub/r"}, ("g/sub", "r", "g/sub/r"), id="groups within groups"),
        pytest.param(
            {"DRONE_REPO_NAMESPACE": "o", "DRONE_REPO_NAME": "r"}, ("o", "r", "o/r"), id="namespace instead of owner"
        ),
        pytest.param(
            {"DRONE_REPO_NAME": "r", "DRONE_REPO_LINK": "https://h/o/r"}, ("o", "r", "o/r"), id="the owner in a link"
        ),
        pytest.param(
            {"DRONE_REPO_NAME": "r", "DRONE_REPO_LINK": "https://h/o/other"}, ("", "r", "r"), id="another one's link"
        ),
    ],
)
def test_drone_tells_owner_and_name_wherever_they_are(environ, expected):
    assert facts(find_build(environ), "owner", "repo", "slug") == expected


@pytest.mark.parametrize(
    ("source", "fork"),
    [
        pytest.param("mallory:feat", True, id="another owner's branch"),
        pytest.param("acme:feat", False, id="an own branch"),
        pytest.param("feat", None, id="it cannot be told"),
    ],
)
def test_drone_tells_a_fork_where_the_source_branch_names_its_owner(source, fork):
    assert find_build(builds.drone(PULL) | {"DRONE_SOURCE_BRANCH": source}).fork is fork


@pytest.mark.parametrize("ref", ["refs/pull/12/head", "refs/merge-requests/12/head", "refs/pull-requests/12/from"])
def test_drones_ref_numbers_a_pull_request(ref):
    assert find_build({"DRONE_BUILD_EVENT": "pull_request", "DRONE_COMMIT_REF": ref}).pull_request == "12"


@pytest.mark.parametrize("event", ["pull_request_closed", "pull_request_metadata"])
def test_every_event_of_woodpecker_about_a_pull_request_is_one(told, event):
    build = told(
        "woodpecker", PULL, CI_PIPELINE_EVENT=event, CI_COMMIT_PULL_REQUEST="", DRONE_PULL_REQUEST="", CI_COMMIT_REF=""
    )

    assert scopes(build)[0] is None


def test_woodpecker_tells_its_platform_in_one_variable(told):
    assert facts(told("woodpecker", PUSH), "os", "arch") == ("linux", "amd64")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({"BRANCH_IS_PRIMARY": "true"}, ("feat/x", "feat/x"), id="the primary branch is the default one"),
        pytest.param({"BRANCH_NAME": "", "GIT_BRANCH": "origin/feat/x"}, ("feat/x", ""), id="a job of one branch"),
        pytest.param({"BRANCH_NAME": "", "GIT_BRANCH": "detached"}, ("", ""), id="a detached HEAD"),
    ],
)
def test_jenkins_tells_its_branch(told, more, expected):
    assert facts(told("jenkins", PUSH, **more), "branch", "default_branch") == expected


def test_a_build_comes_back_from_the_journal_as_it_was(told):
    build = told("woodpecker", PULL)

    assert type(build).from_public({**build.public(), "unknown": 1}) == build


def test_no_token_of_a_clone_url_gets_into_a_build(told):
    build = told("gitlab", PUSH)

    assert build.remote == "https://gitlab.com/acme/web.git"
    assert "glcbt" not in repr(build.public())


# --- URLs of remotes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/acme/web.git", ("github.com", "acme", "web")),
        ("https://user:token@GitHub.com:8443/acme/web", ("github.com", "acme", "web")),
        ("https://token@gitlab.com/acme/team/web.git/", ("gitlab.com", "acme/team", "web")),
        ("ssh://git@github.com:22/acme/web.git", ("github.com", "acme", "web")),
        ("git+ssh://git@github.com/acme/web", ("github.com", "acme", "web")),
        ("git://github.com/acme/web.git", ("github.com", "acme", "web")),
        ("git@github.com:acme/web.git", ("github.com", "acme", "web")),
        ("git@github.com:/acme/web.git", ("github.com", "acme", "web")),
        ("github.com:acme/web", ("github.com", "acme", "web")),
        ("[git@github.com:2222]:acme/web.git", ("github.com", "acme", "web")),
        ("git@[::1]:acme/web.git", ("::1", "acme", "web")),
        ("ssh://git@[::1]:22/acme/web.git", ("::1", "acme", "web")),
        ("/srv/git/acme/web.git", None),
        ("../acme/web.git", None),
        ("./a:b/web", None),
        ("file:///srv/acme/web.git", None),
        (r"C:\acme\web", None),
        ("C:/acme/web", None),
        ("https://github.com/web.git", None),
        ("https://github.com/", None),
        ("https://github.com/acme/../web", None),
        ("https://github.com/acme//web", None),
        ("https://[bad/acme/web", None),
        ("git@github.com:acme/we\nb", None),
        ("ext::sh -c evil", None),
        ("", None),
    ],
)
def test_a_remote_is_a_host_an_owner_and_a_name(url, expected):
    assert parse_remote(url) == (expected and Repository(*expected))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:token@github.com/acme/web", "https://github.com/acme/web"),
        ("https://token@github.com:8443/acme/web?a#b", "https://github.com:8443/acme/web?a#b"),
        ("https://us%40er:to@ken@github.com/acme/web", "https://github.com/acme/web"),
        ("ssh://git:pass@github.com/acme/web", "ssh://git@github.com/acme/web"),
        ("git@github.com:acme/web", "git@github.com:acme/web"),
        ("https://[bad:x@y/acme", ""),
    ],
)
def test_credentials_are_taken_out_of_a_url(url, expected):
    assert without_credentials(url) == expected


@pytest.mark.parametrize("more", [{}, {"DRONE_BUILD_NUMBER": ""}])
def test_the_id_of_a_build_of_harness_is_its_number(more):
    assert find_build({"HARNESS_BUILD_ID": "7"} | more).number == "7"
    assert find_build({"HARNESS_BUILD_ID": "7", "DRONE_BUILD_NUMBER": "8"}).number == "8"
