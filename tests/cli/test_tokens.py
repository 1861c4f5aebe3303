"""`carrara token` and `carrara audit`, as typed."""

from __future__ import annotations

import json
from subprocess import CompletedProcess

from carrara.workspace.workspace import Workspace
from commands import carrara


def asked(fresh: Workspace, *arguments: str) -> CompletedProcess[str]:
    return carrara(*arguments, "--workspace", fresh.root)


def test_a_token_is_printed_once_listed_without_its_secret_and_revoked(fresh):
    text = asked(fresh, "token", "create", "ada", "--role", "deployer", "--lasts", "90d").stdout.strip()
    assert fresh.access.authenticate(text).role == "deployer"
    listed = asked(fresh, "token", "list", "--json").stdout
    (found,) = json.loads(listed)
    assert (found["name"], found["role"], found["state"]) == ("ada", "deployer", "valid")
    assert text not in listed
    assert asked(fresh, "token", "revoke", "ada").returncode == 0
    log = json.loads(asked(fresh, "audit", "list", "--json").stdout)
    assert [entry["action"] for entry in log] == ["revoke token", "create token"]
    assert asked(fresh, "audit", "verify").stdout.startswith("2 entries, unbroken")
    again = asked(fresh, "token", "revoke", "ada")
    assert (again.returncode, again.stderr.splitlines()[0]) == (1, "error: there is no token 'ada'")


def test_the_audit_log_says_by_its_exit_code_that_a_digest_is_missing(fresh):
    done = asked(fresh, "audit", "verify", "--holds", "f" * 64)
    assert done.returncode == 3
    assert "was cut off" in done.stderr
