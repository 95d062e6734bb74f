"""Runs the README's two commands on machines that have nothing: fresh Debian 12 and 13, before each release, by hand.

It needs root on a Debian with mmdebstrap, and takes Debian's packages from where this machine takes them. Each root is
a folder with python3, make and git; a user without anything runs ``make reproduce`` and ``make test`` in a clone of the
last commit. With ``--container`` it first takes the steps of containers/Dockerfile, and then runs the commands as a
user whom the system does not know, without HOME.

    python benchmarks/fresh_machine.py --folder /var/tmp/fresh                              # both, an hour or two
    python benchmarks/fresh_machine.py --suite trixie --command 'make install'              # one of them, less
    python benchmarks/fresh_machine.py --container --command 'make reproduce EXPERIMENT=experiments/smoke.yaml'
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
PACKAGES = "python3,python3-venv,make,git,ca-certificates"
IMAGE_HAS = "python3-pip,python-is-python3"
"""What the container's base image has beside them."""
USER, STRANGER = 1000, 54321
CLONE = "home/reader/clce_bench"
PASSED_ON = re.compile(r"(https?|no|all)_proxy|PIP_(INDEX_URL|CERT)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE", re.IGNORECASE)
"""Variables about the network, which a fresh machine in the same place would have too."""
NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")


def readme_commands() -> list[str]:
    """Returns the first commands of the README, without what is said of them."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```bash\n")[1].split("```")[0]
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def recipe_steps() -> list[str]:
    """Returns the container recipe's steps as shell commands, with the project beside them at ``/source``."""
    steps = []
    for line in (ROOT / "containers" / "Dockerfile").read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if word == "RUN":
            steps.append(rest)
        elif word == "COPY":
            *sources, target = rest.split()
            content = (f"{source}/." if (ROOT / source).is_dir() else source for source in sources)
            steps.append(f"mkdir -p {target} && cd /source && cp -r {' '.join(content)} {target}")
        elif word == "WORKDIR":
            steps.append(f"mkdir -p {rest}")
    return steps


def make_root(suite: str, folder: Path, more: str = "") -> None:
    """Makes a minimal Debian in a folder, from the mirror that this machine uses."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    mirror = next(line.split()[0] for line in said.splitlines() if "security" not in line)
    folder.parent.mkdir(parents=True, exist_ok=True)
    include = ",".join(filter(None, (PACKAGES, more)))
    subprocess.run(["mmdebstrap", "--variant=minbase", f"--include={include}", suite, folder, mirror], check=True)
    for name in NETWORK:
        if (Path("/") / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path("/") / name, folder / name)


def give_clone(folder: Path, owner: int) -> None:
    """Puts a clone of the last commit there, which belongs to a user."""
    place = folder / CLONE
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, place], check=True)
    subprocess.run(["chown", "--recursive", f"{owner}:{owner}", folder / "home/reader"], check=True)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Mounts what every Linux has: processes and shared memory."""
    done: list[Path] = []
    try:
        for kind, name in (("proc", "proc"), ("tmpfs", "dev/shm")):
            (folder / name).mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", kind, kind, folder / name], check=True)
            done.append(folder / name)
        yield
    finally:
        for place in reversed(done):
            subprocess.run(["umount", place], check=True)


def run(folder: Path, command: str, user: int, variables: Sequence[str], directory: str) -> int:
    """Runs a command in the root; returns its status, and says how long it took."""
    network = [f"{name}={value}" for name, value in os.environ.items() if PASSED_ON.fullmatch(name)]
    clean = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", *network, *variables]
    inside = [*clean, "sh", "-c", f"cd /{directory} && {command}"]
    started = time.monotonic()
    status = subprocess.run(["chroot", f"--userspec={user}:{user}", folder, *inside]).returncode
    print(f"{folder.name}: {command}: status {status} after {time.monotonic() - started:.0f} s", flush=True)
    return status


def main() -> None:
    """Makes the roots and runs the commands; the exit status is 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", choices=SUITES, help="one or several; both if not given")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/clce-bench-fresh"), help="where the roots come")
    parser.add_argument("--command", action="append", help="one or several; the README's if not given")
    parser.add_argument("--container", action="store_true", help="take the steps of the container's recipe first")
    parser.add_argument("--keep", action="store_true", help="leave the roots, of several GB")
    options = parser.parse_args()
    if os.getuid() or not shutil.which("mmdebstrap"):
        parser.exit(2, "This needs root, and mmdebstrap: apt-get install mmdebstrap.\n")
    failed = False
    for suite in options.suite or (["bookworm"] if options.container else SUITES):
        folder = options.folder / suite
        make_root(suite, folder, IMAGE_HAS if options.container else "")
        user, home = (STRANGER, []) if options.container else (USER, ["HOME=/home/reader"])
        give_clone(folder, user)
        if not options.container:
            subprocess.run(["chroot", folder, "useradd", "--uid", str(USER), "reader"], check=True)
        with mounted(folder):
            if options.container:
                shutil.copytree(folder / CLONE, folder / "source")
                # Debian reserves its own Python, which stands for the image's.
                for step in recipe_steps():
                    failed |= bool(run(folder, step, 0, ["HOME=/root", "PIP_BREAK_SYSTEM_PACKAGES=1"], ""))
            for command in options.command or readme_commands():
                failed |= bool(run(folder, command, user, home, CLONE))
        if not options.keep:
            shutil.rmtree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()
