"""The webhook's keys: which URLs may be called, and the files that are read for each call."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.errors import UsageError
from sync.settings import Settings, check_files, load, webhook, webhook_authority, webhook_secret
from sync.settings.changes import at_start, changes

URL = "https://hooks.example.com/services/T0KEN"
KEY = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def settings(place: Path, environ: dict[str, str] | None = None, **keys: Any) -> Settings:
    group = {"name": "dg", "mode": "staged"}
    document = {
        "sources": [{"name": "main", "kind": "file", "path": "export.xml"}],
        "clusters": [{"name": "eu", "kind": "manifests", "path": "out", "device_groups": [group]}],
    }
    (place / "export.xml").touch()
    file = place / "zonebridge.yaml"
    file.write_text(yaml.safe_dump({**document, **keys}))
    return load(file, environ or {})


def written(place: Path, name: str, text: str) -> str:
    file = place / name
    file.touch(mode=0o600)
    file.write_text(text)
    return name


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://192.0.2.1:8443/hook?x=1",
        "https://[2001:db8::1]/",
        "http://localhost:8080/hook",
        "http://127.0.0.1/hook",
        "http://[::1]:8080/hook",
    ],
)
def test_a_url_that_may_be_called(url: str, tmp_path: Path) -> None:
    assert webhook(settings(tmp_path, webhook=url)) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    {
        "http://hooks.example.com/T0KEN": "must be https",
        "http://localhost.example.com/T0KEN": "must be https",
        "ftp://localhost/T0KEN": "must be https",
        "//hooks.example.com/T0KEN": "must be https",
        "https:///T0KEN": "must be a URL",
        "https://x:0/T0KEN": "must be a URL",
        "https://x:99999/T0KEN": "must be a URL",
        "https://[/T0KEN": "must be a URL",
        "https://x/T0KEN y": "must be a URL",
        "https://müller.example/T0KEN": "must be a URL",
        "https://user:T0KEN@x/": "holds a user or password",
        "https://x/#T0KEN": "holds a #",
        "T0KEN": "must be a URL",
        "": "must not be empty",
        7: "must be text",
    }.items(),
    ids=str,
)
def test_a_url_that_is_refused_is_not_repeated(url: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=expected) as refused:
        settings(tmp_path, webhook=url)
    assert "T0KEN" not in str(refused.value)


def test_the_url_is_shown_to_nobody(tmp_path: Path) -> None:
    by_file = settings(tmp_path, webhook=URL)
    by_environment = settings(tmp_path, {"ZONEBRIDGE_WEBHOOK": URL})
    for found in (by_file, by_environment):
        assert webhook(found) == URL
        assert "T0KEN" not in repr(found)
        assert "T0KEN" not in found.model_dump_json()


def test_without_one_there_is_nothing(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (webhook(found), webhook_secret(found), webhook_authority(found)) == (None, None, None)


def test_files_are_read_anew_each_time(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        webhook_url_file=written(tmp_path, "url", f"{URL}\n"),
        webhook_secret_file=written(tmp_path, "key", f"{KEY}\n"),
        webhook_ca_file=written(tmp_path, "ca", "PEM"),
    )
    assert webhook(found) == URL
    assert webhook_secret(found) == bytes(range(32))
    assert webhook_authority(found) == b"PEM"
    written(tmp_path, "url", f"{URL}/2")
    assert webhook(found) == f"{URL}/2"
    assert check_files(found)[0] == []


@pytest.mark.parametrize(
    "key",
    ["", "whsec_", "whsec_c2hvcnQ=", KEY.removeprefix("whsec_"), f"{KEY}!", f"x{KEY}"],
)
def test_a_key_of_another_form_is_refused(key: str, tmp_path: Path) -> None:
    found = settings(
        tmp_path, webhook=URL, webhook_secret_file=written(tmp_path, "key", f"{key}\n")
    )
    with pytest.raises(UsageError, match="secret file") as refused:
        webhook_secret(found)
    assert len(key) < 8 or key not in str(refused.value)


def test_config_check_looks_at_the_files(tmp_path: Path) -> None:
    problems, _ = check_files(
        settings(
            tmp_path,
            webhook_url_file=written(tmp_path, "url", "http://hooks.example.com/T0KEN"),
            webhook_secret_file="gone",
            webhook_ca_file="gone-too",
        )
    )
    said = {problem.place[0]: problem.text for problem in problems}
    assert {*said} == {"webhook_url_file", "webhook_secret_file", "webhook_ca_file"}
    assert "must be https" in said["webhook_url_file"]
    assert "T0KEN" not in str(said)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o644)
    _, warnings = check_files(settings(tmp_path, webhook=URL, webhook_secret_file="key"))
    assert any(each.startswith("webhook_secret_file: every user") for each in warnings)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"webhook": URL, "webhook_url_file": "x"}, "webhook_url_file: goes with no webhook"),
        ({"webhook_secret_file": "x"}, "webhook_secret_file: goes with webhook"),
        ({"webhook_ca_file": "x"}, "webhook_ca_file: goes with webhook"),
    ],
)
def test_keys_that_do_not_fit_together(keys: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=expected):
        settings(tmp_path, **keys)


def test_a_reload_does_not_show_the_url_that_changed(tmp_path: Path) -> None:
    before, after = settings(tmp_path, webhook=URL), settings(tmp_path, webhook=f"{URL}2")
    assert changes(before, after) == ["webhook: ********** -> **********"]
    assert at_start(before, after) == []
