"""A directory of manifests: what of it is ours, and that nothing else is touched."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkSet, Tier
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import LiveObject, NotWrittenError, OutOfReachError, WatchNotice
from sync.clusters.manifests import ManifestsReader, ManifestsWatcher, ManifestsWriter, render
from sync.errors import ClusterError
from tests.disk import recorded, require_lasting

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
KIND = "GlobalNetworkSet"
ANNOTATIONS = (("firewall.tigera.io/name", "web"),)


def made(name: str = "pan.web", *nets: str) -> Manifest:
    return GlobalNetworkSet(name, nets, OWNER, ANNOTATIONS).manifest()


WEB = made("pan.web", "10.0.0.1/32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the sets stand, not yet made."""
    return tmp_path / "out" / "globalnetworkset"


def reader(folder: Path) -> ManifestsReader:
    return ManifestsReader(folder.parent, OWNER)


def writer(folder: Path) -> ManifestsWriter:
    return ManifestsWriter(folder.parent, remaining=lambda: 60)


def put(folder: Path, content: str | bytes | dict[str, Any], name: str = "pan.web.yaml") -> Path:
    """Somebody's file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    if isinstance(content, dict):
        content = yaml.safe_dump(content)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def the_only(folder: Path) -> LiveObject:
    (found,) = reader(folder).read().values()
    return found


# --- writing and reading back ---------------------------------------------------------------------


def test_an_object_is_one_file_by_kind_and_name(folder: Path) -> None:
    writer(folder).create(WEB)
    tier = Tier("firewallpolicy", 101, labels=OWNER).manifest()
    writer(folder).create(tier)
    files = sorted(str(each.relative_to(folder.parent)) for each in folder.parent.rglob("*.*"))
    assert files == ["globalnetworkset/pan.web.yaml", "tier/firewallpolicy.yaml"]
    found = reader(folder).read()
    assert found[KIND, "pan.web"].manifest == WEB
    assert found["Tier", "firewallpolicy"].manifest == tier


def test_a_file_can_be_read_by_people(folder: Path) -> None:
    writer(folder).create(WEB)
    assert (folder / "pan.web.yaml").read_text() == (
        "apiVersion: projectcalico.org/v3\n"
        "kind: GlobalNetworkSet\n"
        "metadata:\n"
        "  annotations:\n"
        '    firewall.tigera.io/name: "web"\n'
        "  labels:\n"
        "    app.kubernetes.io/managed-by: zonebridge\n"
        "    zonebridge.io/instance: test\n"
        '    zonebridge.io/store: "5c3b8a34-0000-4000-8000-000000000000"\n'
        "  name: pan.web\n"
        "spec:\n"
        "  nets:\n"
        "  - 10.0.0.1/32\n"
    )


def test_replacing_with_the_same_changes_no_byte(folder: Path) -> None:
    writer(folder).create(WEB)
    before = (folder / "pan.web.yaml").read_bytes()
    writer(folder).replace(WEB, the_only(folder))
    assert (folder / "pan.web.yaml").read_bytes() == before


def test_a_deleted_object_is_gone_and_deleting_it_again_is_done(folder: Path) -> None:
    writer(folder).create(WEB)
    writer(folder).delete(LiveObject(WEB, WEB.document()))
    assert not (folder / "pan.web.yaml").exists()
    writer(folder).delete(LiveObject(WEB, WEB.document()))
    shutil.rmtree(folder.parent)
    writer(folder).delete(LiveObject(WEB, WEB.document()))


HOSTILE = [
    "1e3", "0o17", "017", "0x1f", "0b1", "1_000", "1.0", ".5", "-1", "+1", ".inf", ".nan",
    "190:20:30", "y", "n", "Y", "no", "yes", "on", "Off", "true", "False", "null", "Null", "NULL",
    "~", "", " ", "2026-01-01", "2026-01-01T00:00:00Z", "=", "<<", "*alias", "&anchor", "!tag",
    "!!int 1", "%x", "@x", "`x`", "- x", "? x", ": x", "x: y", "x #y", "#x", "'", '"', "\\",
    "{a}", "[a]", "|", ">", "---", "...", " x ", "x\n", "\nx", "a\nb\n\n c\n", "\t", "\r", "\x00",
    "\x07", "\x1b[31m", "\x7f", "\x85", "\xa0", "\u2028", "\ufeff", "é", "日本", "🔥", "\u202eabc",
    "a" * 10_000, "10.0.0.1/32", "::/0",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:20])
def test_every_text_reads_back_as_it_was_written(folder: Path, value: str) -> None:
    annotations = (
        (f"firewall.tigera.io/{len(value)}", value),
        ("firewall.tigera.io/x", f"{value}x"),
    )
    written = GlobalNetworkSet("pan.web", (value,), OWNER, annotations).manifest()
    writer(folder).create(written)
    assert the_only(folder).manifest == written


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=5
    )
)
def test_any_text_survives_yaml_as_key_and_as_value(pairs: dict[str, str]) -> None:
    document = {"kind": "x", "metadata": {"name": "x", "annotations": pairs}, "spec": [*pairs]}
    assert yaml.load(render(document), Loader=yaml.CSafeLoader) == document
    assert yaml.safe_load(render(document).decode()) == document


# --- what is not there ----------------------------------------------------------------------------


def test_a_directory_that_is_missing_is_empty(folder: Path) -> None:
    assert reader(folder).read() == {}
    folder.parent.mkdir(parents=True)
    assert reader(folder).read() == {}


def test_a_path_that_is_a_file_is_refused(folder: Path) -> None:
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("x")
    with pytest.raises(ClusterError, match="make it a readable directory"):
        reader(folder).read()
    with pytest.raises(NotWrittenError, match="cannot write"):
        writer(folder).create(WEB)
    assert folder.parent.read_text() == "x"


# --- files of others ------------------------------------------------------------------------------


def without_a_label() -> dict[str, Any]:
    document = WEB.document()
    del document["metadata"]["labels"]["zonebridge.io/store"]
    return document


def changed(**fields: Any) -> dict[str, Any]:
    return WEB.document() | fields


def renamed(name: Any) -> dict[str, Any]:
    document = WEB.document()
    document["metadata"]["name"] = name
    return document


def nested(levels: int) -> bytes:
    return render(WEB.document()) + b"deep: " + b"[" * levels + b"]" * levels + b"\n"


BOMB = b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10) if n else b"x")
    for n in range(12)
)

FOREIGN: dict[str, bytes | dict[str, Any]] = {
    "another installation": without_a_label(),
    "no labels": {"kind": KIND, "metadata": {"name": "pan.web"}},
    "another name": renamed("pan.other"),
    "no text as a name": renamed(["pan.web"]),
    "another kind": changed(kind="NetworkSet"),
    "metadata that are none": changed(metadata=["x"]),
    "labels that are none": changed(metadata={"name": "pan.web", "labels": "x"}),
    "empty": b"",
    "only a comment": b"# hands off\n",
    "a list": b"- a\n- b\n",
    "no YAML": b"{[}",
    "tabs": b"a:\n\t- b\n",
    "bytes": b"\xff\xfe\xfa",
    "NUL": b"a: \0",
    "two documents": render(WEB.document()) + b"---\n" + render(WEB.document()),
    "a key twice": render(WEB.document()) + b"kind: GlobalNetworkSet\n",
    "an unknown tag": b"!!python/object/apply:os.system ['true']",
    "an empty integer": render(WEB.document()) + b"x: !!int ''\n",
    "a wrong boolean": render(WEB.document()) + b"x: !!bool x\n",
    "a wrong time": render(WEB.document()) + b"x: !!timestamp x\n",
    "a wrong date": render(WEB.document()) + b"x: 2026-13-45\n",
    "a set": render(WEB.document()) + b"x: !!set {a}\n",
    "binary": render(WEB.document()) + b"x: !!binary aGVsbG8=\n",
    "a key that is none": render(WEB.document()) + b"1: x\n",
    "a large number": render(WEB.document()) + b"x: 99999999999999999999\n",
    "an alias bomb": render(WEB.document()) + BOMB,
    "a circle": render(WEB.document()) + b"x: &x [*x]\n",
    "deep": nested(100),
    "very deep": nested(100_000),
    "endlessly deep": render(WEB.document()) + b"x:\n" + b" - " + b"- " * 1_000_000,
    "huge": render(WEB.document()) + b"#" * (4 * 1024 * 1024),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_holds_no_object_of_ours_is_foreign(
    folder: Path, content: bytes | dict[str, Any]
) -> None:
    file = put(folder, content)
    before = file.read_bytes()
    found = reader(folder).read()
    assert found.keys() == {(KIND, "pan.web")}
    assert found[KIND, "pan.web"].manifest is None
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "name",
    ["pan.web.yml", "pan.web.json", "pan.web.yaml.bak", "README.md", ".pan.web.yaml", "yaml"],
)
def test_other_files_are_not_looked_at(folder: Path, name: str) -> None:
    put(folder, WEB.document(), name)
    assert reader(folder).read() == {}


def test_objects_of_ours_in_other_folders_are_not_looked_at(folder: Path) -> None:
    put(folder / "more", WEB.document())
    put(folder.parent, WEB.document())
    put(folder.parent / "networkset", WEB.document())
    put(folder.parent / "GlobalNetworkSet-old", WEB.document())
    assert reader(folder).read() == {}


def directory(at: Path) -> None:
    (at / "keep").mkdir(parents=True)


def dangling(at: Path) -> None:
    at.symlink_to("nowhere")


def circle(at: Path) -> None:
    at.symlink_to(at.name)


def pipe(at: Path) -> None:
    os.mkfifo(at)


@pytest.mark.parametrize("thing", [directory, dangling, circle, pipe])
def test_what_is_no_file_is_foreign(folder: Path, thing: Callable[[Path], None]) -> None:
    folder.mkdir(parents=True)
    thing(folder / "pan.web.yaml")
    because = f"is a file that holds something else ({folder / 'pan.web.yaml'})"
    assert reader(folder).read() == {(KIND, "pan.web"): LiveObject(None, {}, because)}


def test_a_link_to_an_object_of_ours_is_replaced_and_its_target_stays(folder: Path) -> None:
    target = put(folder.parent / "elsewhere", WEB.document())
    folder.mkdir(parents=True)
    (folder / "pan.web.yaml").symlink_to(target)
    before = target.read_bytes()
    writer(folder).replace(made("pan.web", "10.0.0.2/32"), the_only(folder))
    assert target.read_bytes() == before
    assert not (folder / "pan.web.yaml").is_symlink()
    writer(folder).delete(LiveObject(made("pan.web", "10.0.0.2/32"), {}))
    assert target.read_bytes() == before


# --- what is foreign on an object of ours ---------------------------------------------------------


def test_foreign_metadata_is_no_difference_and_is_kept(folder: Path) -> None:
    document = WEB.document()
    metadata = document["metadata"]
    metadata["labels"] |= {"team": "web", "example.org/zone": "a"}
    metadata["annotations"] |= {"argocd.argoproj.io/sync-wave": "1"}
    metadata["finalizers"] = ["example.org/hold"]
    put(folder, document)
    live = the_only(folder)
    assert live.manifest == WEB
    wanted = made("pan.web", "10.0.0.2/32")
    writer(folder).replace(wanted, live)
    after = yaml.safe_load((folder / "pan.web.yaml").read_text())
    assert after["metadata"] == metadata
    assert after["spec"] == {"nets": ["10.0.0.2/32"]}
    assert the_only(folder).manifest == wanted


def test_a_label_of_ours_that_another_hand_added_goes(folder: Path) -> None:
    document = WEB.document()
    document["metadata"]["labels"]["firewall.tigera.io/zone"] = "forged"
    put(folder, document)
    live = the_only(folder)
    assert live.manifest not in (None, WEB)
    writer(folder).replace(WEB, live)
    assert yaml.safe_load((folder / "pan.web.yaml").read_text()) == WEB.document()


@pytest.mark.parametrize(
    "other",
    [changed(spec={"nets": []}), changed(spec=None), changed(extra=1), changed(apiVersion="x")],
)
def test_any_other_change_of_ours_is_seen(folder: Path, other: dict[str, Any]) -> None:
    put(folder, other)
    assert the_only(folder).manifest not in (None, WEB)


# --- when writing fails ---------------------------------------------------------------------------


def failing(code: int) -> Callable[..., None]:
    def fail(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_write_that_fails_leaves_what_was_there_and_no_scrap(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    writer(folder).create(WEB)
    before = (folder / "pan.web.yaml").read_bytes()
    live = the_only(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(code))
        with pytest.raises(NotWrittenError, match=os.strerror(code)):
            writer(folder).replace(made("pan.web", "10.0.0.2/32"), live)
        with pytest.raises(NotWrittenError, match="cannot write"):
            writer(folder).create(made("pan.new"))
    assert [each.name for each in folder.iterdir()] == ["pan.web.yaml"]
    assert (folder / "pan.web.yaml").read_bytes() == before


def test_a_file_never_stands_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the kill the old file is whole, and what is left over is no manifest."""
    writer(folder).create(WEB)
    before = (folder / "pan.web.yaml").read_bytes()
    live = the_only(folder)

    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        writer(folder).replace(made("pan.web", "10.0.0.2/32"), live)
    assert (folder / "pan.web.yaml").read_bytes() == before
    assert [each.name for each in folder.glob("*.yaml") if each.name[0] != "."] == ["pan.web.yaml"]
    assert the_only(folder).manifest == WEB


def test_what_was_written_outlasts_a_power_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = folder / "pan.web.yaml", made("pan.web", "10.0.0.2/32")
    with monkeypatch.context() as patched:
        asked = recorded(patched)
        writer(folder).create(WEB)
    require_lasting(asked, file, render(WEB.document()))
    live = the_only(folder)
    with monkeypatch.context() as patched:
        asked = recorded(patched)
        writer(folder).replace(other, live)
    require_lasting(asked, file, render(other.document()))
    with monkeypatch.context() as patched:
        asked = recorded(patched)
        writer(folder).delete(the_only(folder))
    assert ("fsync", str(folder), b"") in asked


def test_a_directory_in_the_way_is_not_overwritten(folder: Path) -> None:
    directory(folder / "pan.web.yaml")
    with pytest.raises(NotWrittenError):
        writer(folder).create(WEB)
    with pytest.raises(NotWrittenError, match="someone else"):
        writer(folder).delete(LiveObject(WEB, WEB.document()))
    assert (folder / "pan.web.yaml" / "keep").is_dir()
    assert len(list(folder.iterdir())) == 1


def test_a_rename_that_the_disk_does_not_confirm_may_have_happened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    calls = iter([real, failing(errno.EIO)])
    monkeypatch.setattr(os, "fsync", lambda descriptor: next(calls)(descriptor))
    with pytest.raises(ClusterError, match="does not confirm") as raised:
        writer(folder).create(WEB)
    assert not isinstance(raised.value, NotWrittenError)


def test_an_unreadable_file_stops_the_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, WEB.document())
    monkeypatch.setattr(Path, "open", failing(errno.EACCES))
    with pytest.raises(ClusterError, match="make it readable"):
        reader(folder).read()


def test_what_changed_since_it_was_read_is_not_written_over(folder: Path) -> None:
    put(folder, WEB.document())
    live = the_only(folder)
    (folder / "pan.web.yaml").write_text("mine: now\n")
    writes: tuple[Callable[[], None], ...] = (
        lambda: writer(folder).create(WEB),
        lambda: writer(folder).replace(made("pan.web", "10.0.0.2/32"), live),
        lambda: writer(folder).delete(LiveObject(WEB, WEB.document())),
    )
    for write in writes:
        with pytest.raises(NotWrittenError, match="someone else"):
            write()
        assert (folder / "pan.web.yaml").read_text() == "mine: now\n"
        assert len(list(folder.iterdir())) == 1


def test_a_directory_that_can_be_read_again_is_told(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("no directory")
    stopping, missed, back = threading.Event(), threading.Event(), threading.Event()

    def noticed(kind: str, notice: WatchNotice) -> None:
        assert missed.is_set()
        assert notice is WatchNotice.BACK
        back.set()

    watcher = ManifestsWatcher(folder.parent, every=0.01)
    watcher.watch(lambda *_: None, lambda *_: None, missed.set, stopping, noticed)
    assert missed.wait(60)
    folder.unlink()
    assert back.wait(60)
    stopping.set()
    for each in threading.enumerate():
        if each.name == f"watch {folder.parent}":
            each.join()


# --- what killed runs leave -----------------------------------------------------------------------


def left_behind(folder: Path) -> Path:
    return put(folder, "half an obj", ".zonebridge-0123456789abcdef")


def test_the_first_write_under_a_lease_removes_what_killed_ones_left(folder: Path) -> None:
    left = [left_behind(folder), left_behind(folder.parent / "tier")]
    theirs = [
        put(folder, "theirs", name)
        for name in (".zonebridge-pan.web.yaml", "zonebridge-0123456789abcdef", ".zonebridge-01")
    ]
    under_way = writer(folder)
    under_way.create(WEB)
    assert not any(each.exists() for each in left)
    assert all(each.read_text() == "theirs" for each in theirs)
    # By then they may be of another write of its own.
    another = left_behind(folder)
    under_way.create(made("pan.db"))
    assert another.exists()


def test_so_does_a_removal(folder: Path) -> None:
    writer(folder).create(WEB)
    left = left_behind(folder)
    writer(folder).delete(the_only(folder))
    assert not left.exists()


def test_without_a_lease_nothing_is_removed(folder: Path) -> None:
    left = left_behind(folder)
    with pytest.raises(OutOfReachError):
        ManifestsWriter(folder.parent, remaining=lambda: 0).create(WEB)
    assert left.exists()
