r"""The law: the greater version wins, equal versions are a no-op.

A maximum over a total order is commutative, associative and idempotent: retries, reordering, batching and any number
of replicas end in the same state. The order is that of `Version`; `sql/migrations` restates it as the row comparison
of the one statement that may write `records`, and a test holds the two against each other.

>>> from favsync.core.record import Version
>>> def row(name, stored, incoming):
...     outcome, winner = merge(stored, incoming)
...     print(f"| {name:<44} | {winner.action:<6} | {outcome:<10} |")
>>> def truth_table():
...     print("| stored, then incoming                        | stored after it | receipt |")
...     print("|---|---|---|")
...     row("nothing, then ADD", None, Version(1, False))
...     row("nothing, then DELETE", None, Version(1, True))
...     row("ADD, then a later DELETE", Version(1, False), Version(2, True))
...     row("ADD, then an earlier DELETE", Version(2, False), Version(1, True))
...     row("DELETE, then a later ADD", Version(1, True), Version(2, False))
...     row("DELETE, then an earlier ADD", Version(2, True), Version(1, False))
...     row("ADD, then DELETE at the same instant", Version(1, False), Version(1, True))
...     row("DELETE, then ADD at the same instant", Version(1, True), Version(1, False))
...     row("ADD, then the same ADD", Version(1, False), Version(1, False))
...     row("DELETE, then the same DELETE", Version(1, True), Version(1, True))
>>> truth_table()
| stored, then incoming                        | stored after it | receipt |
|---|---|---|
| nothing, then ADD                            | ADD    | applied    |
| nothing, then DELETE                         | DELETE | applied    |
| ADD, then a later DELETE                     | DELETE | applied    |
| ADD, then an earlier DELETE                  | ADD    | superseded |
| DELETE, then a later ADD                     | ADD    | applied    |
| DELETE, then an earlier ADD                  | DELETE | superseded |
| ADD, then DELETE at the same instant         | DELETE | applied    |
| DELETE, then ADD at the same instant         | DELETE | superseded |
| ADD, then the same ADD                       | ADD    | duplicate  |
| DELETE, then the same DELETE                 | DELETE | duplicate  |

On the same instant and action, the greater digest of `fields` wins:

>>> merge(Version(1, False, b"\x01"), Version(1, False, b"\x02"))
(<Outcome.APPLIED: 'applied'>, Version(action_us=1, deleted=False, digest=b'\x02'))
"""

from enum import StrEnum

from favsync.core.record import Version


class Outcome(StrEnum):
    """What became of one record that was sent: the word in its receipt."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    FUTURE = "future"
    LIMIT = "limit"
    INVALID = "invalid"

    @property
    def settled(self) -> bool:
        """The service has taken the record into account: its sender may forget it."""
        return self in (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.SUPERSEDED)


def merge(stored: Version | None, incoming: Version) -> tuple[Outcome, Version]:
    """What happens to `incoming` where `stored` is (None: nothing), and the version that stands afterwards."""
    if stored is None or incoming > stored:
        return Outcome.APPLIED, incoming
    if incoming == stored:
        return Outcome.DUPLICATE, stored
    return Outcome.SUPERSEDED, stored
