"""How to install the packages that rlkit takes as extras, for messages that miss one."""


def installing(extra: str) -> str:
    """What to type for an extra. It names no index: `rlkit` on PyPI is another project."""
    return f"pip install -e '.[{extra}]' in rlkit's folder"
