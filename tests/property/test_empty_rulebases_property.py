"""What became empty in Panorama asks, and nothing else does, however the rest changes with it."""

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.configuration import Provenance, Snapshot
from sync.options import ZoneDefinition, ZoneOptions
from sync.reconcile.cycle import compare_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.translate.compiler import Options
from tests.memory import MemoryCluster
from tests.words import Word, address, document, read, rule

SCOPES = ("shared", "up", "dg")
NAMES = tuple("abcdefgh")
OPTIONS = Options(
    (),
    True,
    (),
    zones=ZoneOptions(definitions={"web": ZoneDefinition(), "db": ZoneDefinition()}),
)


@dataclass(frozen=True)
class Held:
    """What a scope holds: whether there are addresses, and the rules of each rulebase.

    A rule is a name, and whether it is disabled.
    """

    addresses: bool
    pre: tuple[tuple[str, bool], ...]
    post: tuple[tuple[str, bool], ...]

    @property
    def something(self) -> bool:
        return self.addresses or bool(self.pre or self.post)

    def enabled(self, *rulebases: str) -> set[str]:
        return {
            name for each in rulebases for name, disabled in getattr(self, each) if not disabled
        }


@st.composite
def scopes(draw: st.DrawFn) -> Mapping[str, Held]:
    """Names are unique in all scopes, as Panorama demands."""
    free = draw(st.permutations(NAMES))
    found = {}
    for number, scope in enumerate(SCOPES):
        names = free[2 * number : 2 * number + 2]
        rules = [(name, draw(st.booleans())) for name in names if draw(st.booleans())]
        cut = draw(st.integers(0, len(rules)))
        found[scope] = Held(draw(st.booleans()), tuple(rules[:cut]), tuple(rules[cut:]))
    return found


def words(scope: str, held: Held) -> list[Word]:
    some = [address(f"at-{scope}", "10.0.0.1")] if held.addresses else []
    for rulebase in ("pre", "post"):
        some += [
            rule(
                name,
                from_=["web"],
                to=["db"],
                source=["any"],
                destination=["any"],
                service=["any"],
                application=["any"],
                action="allow",
                disabled="yes" if disabled else "no",
                rulebase=rulebase,
            )
            for name, disabled in getattr(held, rulebase)
        ]
    return some


@dataclass(frozen=True)
class GivenSource:
    """A source with one snapshot."""

    snapshot: Snapshot
    name: str = "main"

    def revision(self) -> str:
        return ""

    def read(self) -> Snapshot:
        return self.snapshot


def source(held: Mapping[str, Held]) -> GivenSource:
    made = document(
        words("shared", held["shared"]),
        {"up": words("up", held["up"]), "dg": words("dg", held["dg"])},
        parents={"dg": "up"},
    )
    return GivenSource(Snapshot(read(made), Provenance("main", "memory", "1")))


def asked(before: Mapping[str, Held], after: Mapping[str, Held]) -> set[str]:
    """What the guard is meant to ask about, by what each scope held and holds."""
    found = set()
    for scope, old in before.items():
        new = after[scope]
        lost = old.enabled("pre", "post") - new.enabled("pre", "post")
        if old.something and not new.something:
            found.add(scope)
        elif lost and not new.enabled("pre", "post"):
            found.add(f"{scope} rules")
        elif lost:
            emptied = (r for r in ("pre", "post") if old.enabled(r) and not new.enabled(r))
            found |= {f"{scope} {rulebase}" for rulebase in emptied}
    return found


@given(scopes(), scopes())
def test_what_is_suddenly_empty_asks_and_nothing_else_does(
    before: Mapping[str, Held], after: Mapping[str, Held]
) -> None:
    cluster = Cluster("prod", (TierBinding("main", "dg"),), MemoryCluster(()), None, None, True)
    [result] = compare_cycle([source(before)], [source(after)], [cluster], OPTIONS)
    assert result.plan
    blockers = [each for each in result.plan.blockers if each.guard == "empty-source"]
    assert {each.covers for each in blockers} == asked(before, after)
    assert len(blockers) == len({each.covers for each in blockers})
    assert all(each.approvable for each in blockers)
