"""Write down what a site gets with the wheel: an SBOM in CycloneDX's format, beside it."""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

NAME = "django-openrouter-auth"


def installed(wheel: Path, folder: Path) -> Path:
    """Return the Python of a new environment that holds the wheel, and what it asks for."""
    venv.create(folder, with_pip=False)
    [python] = [*folder.glob("bin/python"), *folder.glob("Scripts/python.exe")]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", str(wheel.resolve())], check=True)
    return python


def described(python: Path) -> dict[str, Any]:
    """Return the SBOM of an environment, after the tool has compared it with the schema."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    done = subprocess.run([*command, str(python)], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def reachable(sbom: dict[str, Any]) -> set[str]:
    """Return our package and whatever it depends on, directly or not."""
    names = {component["bom-ref"]: component["name"] for component in sbom["components"]}
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in sbom["dependencies"]}
    found: set[str] = set()
    waiting = [reference for reference, name in names.items() if name == NAME]
    while waiting:
        reference = waiting.pop()
        if reference not in found:
            found.add(reference)
            waiting += needs[reference]
    return {names[reference] for reference in found}


def main(folder: Path) -> None:
    """Describe the one wheel of a folder."""
    [wheel] = folder.glob("*.whl")
    with tempfile.TemporaryDirectory() as name:
        sbom = described(installed(wheel, Path(name)))
    listed = {component["name"] for component in sbom["components"]}
    if NAME not in listed or listed != reachable(sbom):
        sys.exit(f"Not what the wheel depends on: {sorted(listed ^ reachable(sbom))}")
    [ours] = [component for component in sbom["components"] if component["name"] == NAME]
    for reference in ours["externalReferences"]:
        reference["url"] = wheel.name  # its hash stays; the folder of the one who built it goes
    path = folder / f"{NAME}-{ours['version']}.cdx.json"
    path.write_text(json.dumps(sbom, indent=2, sort_keys=True) + "\n")
    print(f"{path}: {len(listed)} components")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
