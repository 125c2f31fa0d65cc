"""The examples in core are true."""

import doctest
import importlib
import pkgutil

import pytest

import favsync.core


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(favsync.core.__path__)])
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"favsync.core.{name}")).failed == 0
