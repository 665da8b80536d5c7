import contextlib
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3batch.base.errors import SettingsError
from s3batch.cache.key_template import go_arch, go_os, render_key
from tests.archive.cycle import fill

FACTS = {
    "Repo.Name": "hello",
    "Commit.Branch": "feat/x",
    "Commit.Ref": "refs/heads/feat/x",
    "Commit.Message": "a {{ message }}",
    "Build.Event": "push",
    "Build.Status": "success",
}


@pytest.fixture
def workspace(tmp_path):
    fill(
        tmp_path,
        {"lock": b"locked", "go.sum": b"1", "a/go.sum": b"2", "b/go.sum": b"3", "b/c/go.sum": b"4", ".h/go.sum": b"5"},
    )
    return str(tmp_path)


def text(template, workspace="/nowhere"):
    return render_key(template, FACTS, workspace, now=1234.9).text


def sha(*contents):
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


TEMPLATES = [
    pytest.param("plain", "plain", id="no template at all"),
    pytest.param("{{ .Repo.Name }}-{{.Commit.Branch}}", "hello-feat/x", id="fields, with and without spaces"),
    pytest.param("{{ .Commit.Ref }}", "refs/heads/feat/x", id="the ref is the ref, not the commit"),
    pytest.param("{{ .Commit.Message }}", "a {{ message }}", id="values are not templates"),
    pytest.param("{{ .Build.Event }}/{{ .Build.Status }}", "push/success", id="two in one"),
    pytest.param("{{ .Repo.Link }}|", "|", id="known and not set"),
    pytest.param("{{ epoch }}", "1234", id="seconds"),
    pytest.param("{{ os }}-{{ arch }}", f"{go_os()}-{go_arch()}", id="system"),
    pytest.param('{{ checksum "lock" }}', hashlib.md5(b"locked").hexdigest(), id="checksum"),
    pytest.param("{{ checksum `lock` }}", hashlib.md5(b"locked").hexdigest(), id="raw text"),
    pytest.param('{{ hashFiles "go.sum" }}', sha(b"1"), id="one file"),
    pytest.param(
        '{{ hashFiles "*/go.sum" "go.sum" }}', sha(b"5", b"2", b"3", b"1"), id="patterns in order, matches sorted"
    ),
    pytest.param('{{ hashFiles "**/go.sum" }}', sha(b"5", b"2", b"3"), id="two stars are one level, as in Go"),
    pytest.param('{{ hashFiles "[^b]/go.sum" }}', sha(b"2"), id="a class negated as in Go"),
    pytest.param('{{ hashFiles "a*" "go.sum" }}', sha(b"1"), id="directories are passed over"),
]


@pytest.mark.parametrize(("template", "expected"), TEMPLATES)
def test_templates_become_keys(workspace, template, expected):
    assert text(template, workspace) == expected


@pytest.mark.parametrize("template", ['{{ checksum "gone" }}', '{{ hashFiles "gone*" }}'])
def test_a_file_that_is_missing_counts_as_empty_with_a_warning(workspace, template):
    rendered = render_key(f"v1-{template}", {}, workspace, now=0)

    assert rendered.text == "v1-"
    assert "is empty" in rendered.warnings[0]


WRONG = [
    pytest.param("{{ .Repo.Nme }}", "did you mean .Repo.Name", id="unknown field"),
    pytest.param("{{ .Secret }}", "no field .Secret", id="field of nothing"),
    pytest.param('{{ checksun "x" }}', "did you mean checksum", id="unknown function"),
    pytest.param('{{ printf "%s" .Repo.Name }}', "neither a field", id="cleverer than we are"),
    pytest.param("{{ if .Repo.Private }}x{{ end }}", "neither a field", id="conditions"),
    pytest.param("{{ .Repo.Name | upper }}", "cannot parse", id="pipes"),
    pytest.param("{{ }}", "neither a field", id="nothing inside"),
    pytest.param("{{ .Repo.Name", "has no }}", id="not closed"),
    pytest.param("{{ checksum }}", "takes 1 texts", id="no argument"),
    pytest.param("{{ hashFiles }}", "one or more", id="no pattern"),
    pytest.param('{{ epoch "x" }}', "takes 0", id="an argument too many"),
    pytest.param('{{ checksum "x }}', "cannot parse", id="text not closed"),
    pytest.param('{{ "text" }}', "neither a field", id="text alone"),
]


@pytest.mark.parametrize(("template", "error"), WRONG)
def test_a_wrong_template_is_a_settings_error(template, error):
    with pytest.raises(SettingsError, match=error):
        text(template)


@given(st.text(alphabet='{}. "`\\ab|RepoName\n', max_size=30))
def test_any_text_is_a_key_or_a_settings_error(template):
    with contextlib.suppress(SettingsError):
        assert isinstance(text(template), str)


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_processors_have_their_go_names(machine, name):
    assert go_arch(machine) == name


@pytest.mark.parametrize("template", ['{{ checksum "pipe" }}', '{{ hashFiles "pipe" }}'])
def test_a_pipe_has_no_checksum_and_keeps_nobody_waiting(workspace, template):
    os.mkfifo(os.path.join(workspace, "pipe"))

    made = render_key(template, FACTS, workspace, now=1234.9)

    assert made.text == ""
    assert "is empty" in made.warnings[0]
