"""What cannot be written as JSON as it is gets into the log all the same."""

import json

import pytest

from favsync import logs


@pytest.mark.parametrize("odd", ["\udc80", 2**70, {"a": ["\ud800"]}])
def test_an_entry_is_written_whatever_is_in_it(odd: object) -> None:
    assert json.loads(logs._dump({"event": "x", "odd": odd}, default=repr)) == {"event": "x", "odd": odd}
