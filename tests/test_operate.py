"""docs/operate.md is true: its file loads, its metrics are there, its alerts name what exists."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from favsync import settings, settings_sources
from favsync.metrics import Metrics
from tests.identity.fake import EC_KEY, RSA_KEY, pem

PAGE = (Path(__file__).parents[1] / "docs" / "operate.md").read_text()


def test_its_file_can_be_used_as_it_stands(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "favsync.toml").write_text(block)
    (tmp_path / "partner.pem").write_bytes(pem(RSA_KEY) + pem(EC_KEY))
    for name in ("app.secret", "app.secret.previous", "introspection.secret"):
        (tmp_path / name).write_text("a secret of more than 32 bytes, and a line end\n")
    loaded, _, _ = settings.load({"database_url": "postgresql://x", "jwt_secret": "s" * 32}, tmp_path / "favsync.toml")
    assert settings.with_secrets(loaded) is loaded
    assert len(loaded.all_issuers) == 5
    assert loaded.user_header is not None
    assert loaded.issuers[1].scopes == {"feed:read"}


def test_its_metrics_are_those_there_are() -> None:
    families = text_string_to_metric_families(Metrics().render().decode())
    types = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    ours = {name for name in types if name.startswith("favsync_")}
    table = PAGE[PAGE.index("## Metrics") : PAGE.index("## When")]
    assert set(re.findall(r"^\| `(favsync_\w+)`", table, re.MULTILINE)) == ours
    alerts = {re.sub(r"_(count|sum|bucket)$", "", name) for name in re.findall(r"`?(favsync_\w+)", PAGE)}
    assert alerts <= ours


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"FAVSYNC_[A-Z_]+", PAGE))))
def test_its_variables_are_settings(variable: str) -> None:
    assert variable in {*map(settings_sources.variable, settings.FIELDS), "FAVSYNC_CONFIG"}
