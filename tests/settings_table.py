"""The README's table of settings, printed from the settings themselves."""

from pathlib import Path

from favsync.settings import FIELDS, Settings, shown
from favsync.settings_sources import variable

DEFAULTS_IN_WORDS = {
    "jwt_secret": "made in `data_dir`",
    "data_dir": "`~/.local/share/favsync`; under root `/var/lib/favsync`",
}


def rows() -> list[str]:
    defaults = shown(Settings(data_dir=Path("x")))
    return [
        f"| `{variable(name)}` | {DEFAULTS_IN_WORDS.get(name) or (f'`{defaults[name]}`' if defaults[name] else '')} "
        f"| {field.metadata['help']} |"
        for name, field in FIELDS.items()
    ]


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201
