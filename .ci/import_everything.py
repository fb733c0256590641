"""Imports every module of an installed rlkit, and compares what is installed with a checkout.

Usage: python -I import_everything.py CHECKOUT. Reads file names from the checkout, nothing else.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

FOLDERS = {"rlkit": "rlkit", "rlkit_agents": "agents/rlkit_agents", "rlkit_envs": "envs/rlkit_envs"}


def imported_modules(package: str) -> set[str]:
    """Names of all modules of the package, each of which was imported."""
    root = importlib.import_module(package)
    names = {package}
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
        names.add(module.name)
    return names


def modules_in(folder: Path, package: str) -> set[str]:
    """Names that the Python files below the folder have as modules."""
    paths = (file.relative_to(folder).with_suffix("") for file in folder.rglob("*.py"))
    return {".".join((package, *path.parts)).removesuffix(".__init__") for path in paths}


def data_in(folder: Path) -> set[str]:
    """Paths of the policies that ship, relative to the folder."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*.safetensors")}


def main() -> None:
    checkout = Path(sys.argv[1])
    for package, folder in FOLDERS.items():
        installed = Path(importlib.import_module(package).__path__[0])
        if not installed.is_relative_to(sys.prefix):
            sys.exit(f"{package} was imported from {installed}, not from the environment")
        names = imported_modules(package)
        missing = modules_in(checkout / folder, package) - names
        missing |= data_in(checkout / folder) - data_in(installed)
        if missing:
            sys.exit(f"{package}: not installed: {', '.join(sorted(missing))}")
        print(f"{package}: {len(names)} modules, {len(data_in(installed))} policies")


if __name__ == "__main__":
    main()
