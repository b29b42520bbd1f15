"""Build source distribution and wheel of the last commit: the same bytes, whoever builds them.

Time, folder, user and umask of the one who builds leave no trace. What does are the compression
of Python's ``zlib`` and the versions of the tools, which pyproject.toml pins for this purpose.
"""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def git(*arguments: str) -> bytes:
    """Return what git answers."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build one distribution with the tools of this environment, and return its path."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir"]
    subprocess.run([*command, str(folder), str(source)], check=True, stdout=subprocess.DEVNULL)
    [path] = folder.iterdir()
    return path


def without_traces(member: tarfile.TarInfo, time: int) -> tarfile.TarInfo:
    """Return an entry of an archive that does not tell who packed it, and when."""
    mode = 0o755 if member.mode & 0o100 else 0o644
    return member.replace(mtime=time, mode=mode, uid=0, gid=0, uname="", gname="", deep=False)


def repack(path: Path, time: int) -> None:
    """Write a source distribution again: setuptools puts times, users and modes into it."""
    content = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=content, mode="w") as new:
        for member in old:
            member.pax_headers = {}  # the fractions of the times
            data = old.extractfile(member) if member.isfile() else None
            new.addfile(without_traces(member, time), data)
    path.write_bytes(gzip.compress(content.getvalue(), mtime=time))


def main(target: Path) -> None:
    """Build both into a new folder, the wheel by way of the source distribution."""
    if target.exists():
        sys.exit(f"{target} is there already: what is in it was built before. Remove it first.")
    target.mkdir(parents=True)
    os.umask(0o022)
    time = git("log", "-1", "--format=%ct").decode().strip()
    os.environ["SOURCE_DATE_EPOCH"] = time  # for the wheel
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("commit", "sdist", "source", "wheel"):
            (folder / part).mkdir()
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as archive:
            archive.extractall(folder / "commit", filter="data")
        sdist = build("sdist", folder / "commit", folder / "sdist")
        repack(sdist, int(time))
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "source", filter="data")
        [source] = (folder / "source").iterdir()
        wheel = build("wheel", source, folder / "wheel")
        for path in (sdist, wheel):
            shutil.copy(path, target)
            print(target / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
