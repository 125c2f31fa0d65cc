"""`favsync`, but each offer of records is a statement of its own: what write combining is set against."""

from collections.abc import Sequence

from favsync import sync
from favsync.cli import main
from favsync.combiner import Push
from favsync.core.record import Record
from favsync.store.records import Seen


class Direct:
    """In place of the Combiner."""

    def __init__(self, push: Push) -> None:
        self._push = push

    async def offer(self, records: Sequence[Record], limits: Sequence[int | None], *, caller: str) -> list[Seen]:  # noqa: ARG002
        """As the Combiner's."""
        return await self._push(records, limits)


if __name__ == "__main__":
    setattr(sync, "Combiner", Direct)  # noqa: B010 -- which is what this is for
    main()
