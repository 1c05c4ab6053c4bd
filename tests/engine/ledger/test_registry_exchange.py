"""A ledger's way to another host and back: both origins kept, nothing twice, nothing decided."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ledger.archive import Archive, ArchiveTrouble
from engine.registry import Registry
from engine.settings import Settings
from engine.types import Backend, Key, RegistryRow
from tests.effort import examples


def clock() -> float:
    return 1_790_000_000.0


def row(number: int = 0, **changes: Any) -> RegistryRow:
    values: dict[str, Any] = {
        "ts": 1_790_000_000.25 + number,
        "model_id": f"org/m{number}",
        "backend": "gguf",
        "backend_version": "llama.cpp 0.3.36",
        "outcome": "pass",
        "reason": f"canary 9/9 [{number}]",
        "metadata": {"event": "canary", "fingerprint": f"f{number}"},
    }
    return RegistryRow(**{**values, **changes})


def key(number: int = 0) -> Key:
    return Key(f"f{number}", Backend.GGUF, "llama.cpp 0.3.36")


class Host:
    """A home on some host."""

    def __init__(self, folder: Path, name: str) -> None:
        self.home = folder / name
        self.home.mkdir()
        self.name = name
        self.path = self.home / "compatibility-registry.json"

    def write(self, *rows: RegistryRow) -> None:
        registry = Registry(self.path, clock)
        for one in rows:
            registry.append(one)
        registry.close()

    def archive(self) -> Archive:
        return Archive(Settings(home=self.home), clock, self.name)

    def export(self) -> Path:
        target = self.home.parent / f"{self.name}.json"
        self.archive().export_to(target)
        return target

    def verdict(self, number: int = 0) -> RegistryRow | None:
        return Registry(self.path, clock).verdict(key(number))


@pytest.fixture
def here(tmp_path: Path) -> Host:
    return Host(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path) -> Host:
    return Host(tmp_path, "there")


def origins(host: Host) -> list[tuple[str, str]]:
    """Every row's model and origin; the host's own rows have none."""
    rows = host.archive().rows()
    return sorted((one.model_id, str(one.metadata.get("origin", ""))) for one in rows)


def test_an_export_is_a_ledger_that_names_its_host(here: Host) -> None:
    here.write(row(1), row(2))
    exported = here.export()
    rows = json.loads(exported.read_text())
    assert [r["metadata"]["origin"] for r in rows] == ["here", "here"]
    assert [r["model_id"] for r in rows] == ["org/m1", "org/m2"]
    assert exported.stat().st_mode & 0o777 == 0o600
    assert len(Registry(exported, clock).rows()) == 2


def test_another_hosts_rows_are_listed_and_decide_nothing(here: Host, there: Host) -> None:
    there.write(row(1, outcome="fail"), row(2))
    here.write(row(2, ts=5.0))
    merged = here.archive().merge(there.export())
    assert (merged.added, merged.known) == (2, 0)
    assert merged.origins == {"there": 2}
    assert origins(here) == [("org/m1", "there"), ("org/m2", ""), ("org/m2", "there")]
    assert here.verdict(1) is None
    decided = here.verdict(2)
    assert decided is not None
    assert decided.ts == 5.0
    assert here.archive().summary()["org/m1"].failed == 1


def test_the_same_import_twice_changes_no_byte(here: Host, there: Host) -> None:
    there.write(row(1), row(2))
    here.write(row(1))
    here.archive().merge(there.export())
    once = here.path.read_bytes()
    again = here.archive().merge(there.export())
    assert (again.added, again.known) == (0, 2)
    assert here.path.read_bytes() == once


def test_rows_keep_their_origin_over_several_hosts(tmp_path: Path) -> None:
    a, b, c = (Host(tmp_path, name) for name in "abc")
    a.write(row(1))
    b.write(row(2))
    b.archive().merge(a.export())
    c.archive().merge(b.export())
    assert origins(c) == [("org/m1", "a"), ("org/m2", "b")]
    a.archive().merge(c.export())
    assert origins(a) == [("org/m1", ""), ("org/m2", "b")]


def test_a_backup_of_this_host_decides_again_where_nothing_newer_does(here: Host) -> None:
    here.write(row(1, outcome="fail"), row(1, ts=1_790_000_009.0), row(2, outcome="fail"))
    backup = here.export()
    here.path.unlink()
    here.write(row(2, ts=1_790_000_010.0))
    merged = here.archive().merge(backup)
    assert merged.added == 3
    restored = here.verdict(1)
    assert restored is not None
    assert restored.ts == 1_790_000_009.0
    kept = here.verdict(2)
    assert kept is not None
    assert kept.outcome == "pass"
    assert here.archive().merge(backup).added == 0


def test_a_ledger_copied_as_it_lay_needs_a_name(here: Host, there: Host) -> None:
    there.write(row(1))
    with pytest.raises(ArchiveTrouble, match="--origin"):
        here.archive().merge(there.path)
    assert not here.path.exists()
    here.archive().merge(there.path, "there")
    assert origins(here) == [("org/m1", "there")]


@pytest.mark.parametrize("content", [b"", b"no ledger", b"{}", b"\x00" * 100, b'["x"]'])
def test_what_is_no_export_is_refused_or_adds_nothing(
    here: Host, tmp_path: Path, content: bytes
) -> None:
    here.write(row(1))
    before = here.path.read_bytes()
    source = tmp_path / "source.json"
    source.write_bytes(content)
    if content:
        with pytest.raises(ArchiveTrouble, match="holds no registry rows"):
            here.archive().merge(source, "x")
    else:
        assert here.archive().merge(source, "x").added == 0
    assert here.path.read_bytes() == before


def test_a_torn_and_hostile_export_gives_its_whole_known_rows(
    here: Host, there: Host, tmp_path: Path
) -> None:
    there.write(row(1, model_id="org/m\x1b[2J"), row(2), row(3))
    text = (
        there.export()
        .read_bytes()
        .replace(
            b'"outcome":"pass","reason":"canary 9/9 [2]"',
            b'"outcome":"maybe","reason":"canary 9/9 [2]"',
        )
    )
    source = tmp_path / "source.json"
    source.write_bytes(text[:-40])
    merged = here.archive().merge(source)
    assert (merged.added, merged.refused, merged.damaged) == (1, 1, 1)
    assert b"\x1b" not in here.path.read_bytes()


def test_an_export_never_overwrites_the_ledger(here: Host, tmp_path: Path) -> None:
    here.write(row(1))
    link = tmp_path / "link.json"
    link.symlink_to(here.path)
    for target in (here.path, link):
        with pytest.raises(ArchiveTrouble, match="registry itself"):
            here.archive().export_to(target)
    assert origins(here) == [("org/m1", "")]


def test_verify_says_what_was_damaged_and_where_its_bytes_are(here: Host) -> None:
    here.write(row(1), row(2), row(3))
    assert here.archive().verify().sound
    data = here.path.read_bytes()
    here.path.write_bytes(data.replace(b'"org/m2"', b'"org/m2', 1))
    found = here.archive().verify()
    assert not found.sound
    assert found.rows == 2
    assert found.damaged_bytes > 100
    [aside] = found.kept_in
    assert b"org/m2" in Path(aside).read_bytes()
    after = here.archive().verify()
    assert after.sound
    assert after.earlier == found.kept_in


def test_an_engine_that_runs_sees_imported_rows_and_keeps_its_own(here: Host, there: Host) -> None:
    running = Registry(here.path, clock)
    running.append(row(1))
    there.write(row(1, outcome="fail"), row(2))
    here.archive().merge(there.export())
    running.append(row(3))
    running.refresh()
    assert running.total == 4
    verdict = running.verdict(key(1))
    assert verdict is not None
    assert verdict.outcome == "pass"


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["pass", "fail"])), max_size=6)


@given(mine=ROWS, theirs=ROWS)
@settings(max_examples=examples(30), deadline=None)
def test_merging_both_ways_ends_with_the_same_rows_on_both_hosts(
    tmp_path_factory: pytest.TempPathFactory,
    mine: list[tuple[int, str]],
    theirs: list[tuple[int, str]],
) -> None:
    folder = tmp_path_factory.mktemp("hosts")
    a, b = Host(folder, "a"), Host(folder, "b")
    for host, numbers in ((a, mine), (b, theirs)):
        host.write(*(row(n, outcome=o, ts=float(at)) for at, (n, o) in enumerate(numbers)))
    before = [a.verdict(n) for n in range(4)]
    for _ in range(2):
        b.archive().merge(a.export())
        a.archive().merge(b.export())

    def everything(host: Host) -> list[tuple[float, str, str, object]]:
        return sorted(
            (r.ts, r.model_id, r.outcome, r.metadata.get("origin") or host.name)
            for r in host.archive().rows()
        )

    assert everything(a) == everything(b)
    assert len(everything(a)) == len(mine) + len(theirs)
    assert [a.verdict(n) for n in range(4)] == before
