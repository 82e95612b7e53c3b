"""Sees to it that a script of this checkout runs where its dependencies are: on a fresh machine, with Python alone.

    import _bootstrap
    _bootstrap.ensure(["test"])    # from here on: in .venv/py3.X, with the dependencies and that extra

The environments stand in `.venv/` of the checkout, one for each Python. Only what flowguard *needs* is installed in
them; flowguard itself is this checkout, by a .pth file, so that an edit counts at once and nothing must be built.
Standard library only. Kept to what Python 3.6 can read, so that an old Python is told so in words.

FLOWGUARD_BOOTSTRAP=0 takes the interpreter as it is; so do the processes that a bootstrapped script starts.
"""

import ast
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 9)  # requires-python of pyproject.toml; test_bootstrap compares them
SWITCH = "FLOWGUARD_BOOTSTRAP"
# Where pip looks for its settings on Unix, Windows and macOS (pip's documentation, "Configuration").
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", "~/pip/pip.ini",
             "~/AppData/Roaming/pip/pip.ini", "~/Library/Application Support/pip/pip.conf")


def ensure(extras: Sequence[str] = (), system: bool = True) -> None:
    """Go on in an environment that has flowguard's dependencies and *extras*; make or refresh it first if need be.

    Either returns, in that environment, or starts the script again there, or ends with one sentence that says what is
    missing. *system*: whether a Debian package may be installed for it, where we are root.
    """
    complaint = too_old(sys.version_info[:3])
    if complaint:
        sys.exit(complaint)
    sys.path.insert(0, ROOT)
    if os.environ.get(SWITCH) != "0":
        restart_in(environment(place_of(), requirements(extras), system=system))


def too_old(version: Tuple[int, ...]) -> Optional[str]:
    """The sentence for a Python of that *version*, or None if it will do."""
    if version[:2] >= OLDEST:
        return None
    return "flowguard needs Python {}.{} or newer, and this is Python {}.".format(
        OLDEST[0], OLDEST[1], ".".join(map(str, version)))


def restart_in(python: str) -> None:
    """Run this script again, by *python*."""
    os.environ[SWITCH] = "0"
    command = [python, *sys.argv]
    sys.stdout.flush()
    if os.name == "nt":  # there, exec would give the terminal back before the script has ended
        sys.exit(subprocess.call(command))
    os.execv(python, command)


def place_of(suffix: str = "", version: Sequence[int] = sys.version_info) -> str:
    """Where the environment of that Python stands."""
    return os.path.join(ROOT, ".venv", "py{}.{}{}".format(version[0], version[1], suffix))


# What is needed: read from pyproject.toml, of which Python 3.9's standard library knows nothing.

def requirements(extras: Iterable[str] = ()) -> List[str]:
    """The run-time requirements and those of *extras*, as pyproject.toml has them."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        listed = dict(re.findall(r"^(\w+) = (\[\n.*?^\])$", file.read(), re.MULTILINE | re.DOTALL))
    return [item for name in ["dependencies", *extras] for item in ast.literal_eval(listed[name])]


def digest() -> str:
    """Of the files that say what an environment must be like."""
    total = hashlib.sha256()
    for name in ("pyproject.toml", "setup.cfg"):
        with open(os.path.join(ROOT, name), "rb") as file:
            total.update(file.read())
    return total.hexdigest()


# The environment.

def environment(place: str, needs: Sequence[str], base: str = sys.executable, system: bool = True) -> str:
    """The path of a Python that has *needs*: of the environment at *place*, made with *base* if it is not there.

    A stamp, written last, holds the digest and what was installed: as long as both will do, nothing is started.
    """
    if not is_current(place, needs):
        with locked(place):
            if not is_current(place, needs):  # somebody else may have made it while we waited
                together = sorted({*needs, *(installed(place) or [])})
                build(place, together, base, system)
                write_stamp(place, together)
    return python_of(place)


def python_of(place: str) -> str:
    return os.path.join(place, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def is_current(place: str, needs: Sequence[str]) -> bool:
    done = installed(place)
    return done is not None and set(needs) <= set(done)


def installed(place: str) -> Optional[List[str]]:
    """What was asked for when the environment at *place* was made; None if that was for other files than today's."""
    stamp = read_stamp(place)
    return stamp[1:] if stamp[:1] == [digest()] else None


def read_stamp(place: str) -> List[str]:
    """The lines of the stamp; none if there is no environment, or one that was not made to its end."""
    with contextlib.suppress(OSError), open(os.path.join(place, "stamp"), encoding="utf-8") as file:
        return file.read().splitlines() if os.path.exists(python_of(place)) else []
    return []


def write_stamp(place: str, needs: Sequence[str]) -> None:
    stamp = os.path.join(place, "stamp")
    with open(stamp + ".new", "w", encoding="utf-8") as file:
        file.write("\n".join([digest(), *needs]) + "\n")
    os.replace(stamp + ".new", stamp)


def build(place: str, needs: Sequence[str], base: str, system: bool) -> None:
    """Put *needs* and this checkout into the environment at *place*, and make that first if it is not there.

    One that was made to its end is added to, never made anew, for somebody may be running in it.
    """
    uv = None if has_pip_settings() else shutil.which("uv")
    if not can_be_added_to(place, uv):
        say("making {} with {}".format(os.path.relpath(place, ROOT), base))
        uv = make(place, base, uv, pip=bool(needs), system=system)
    for need in needs:
        if need not in (installed(place) or []):
            say("installing " + need)
    if not (install(place, needs, uv) and run([python_of(place), "-c", PUT_ON_PATH, ROOT])):
        sys.exit("{} could not be made complete: the lines above say why.".format(os.path.relpath(place, ROOT)))


# Run by the new environment's own Python, which knows where its site-packages is.
PUT_ON_PATH = """
import os, sys, sysconfig
with open(os.path.join(sysconfig.get_path("purelib"), "flowguard-checkout.pth"), "w", encoding="utf-8") as file:
    file.write(sys.argv[1] + "\\n")
"""


def can_be_added_to(place: str, uv: Optional[str]) -> bool:
    return bool(read_stamp(place)) and (bool(uv) or run([python_of(place), "-c", "import pip"], quiet=True))


def make(place: str, base: str, uv: Optional[str], pip: bool, system: bool) -> Optional[str]:
    """Make an empty environment, by *uv* if there is one that can, and return it if so."""
    shutil.rmtree(place, ignore_errors=True)
    if uv and run([uv, "venv", "--quiet", "--python", base, place]):
        return uv
    if pip and not can_make(base):
        see_to_venv(base, system)
    if not run([base, "-m", "venv", place] + ([] if pip else ["--without-pip"])):
        sys.exit("{} could not make an environment: the lines above say why.".format(base))
    return None


def install(place: str, needs: Sequence[str], uv: Optional[str]) -> bool:
    """Install *needs*, by uv or by the environment's own pip."""
    python = python_of(place)
    # --no-user: `user = true` in somebody's pip.conf makes no sense in an environment, and pip refuses it there.
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-user"]
    return not needs or run([*([uv, "pip", "install", "--quiet", "--python", python] if uv else pip), *needs])


def can_make(base: str) -> bool:
    return run([base, "-c", "import ensurepip, venv"], quiet=True)


def see_to_venv(base: str, system: bool) -> None:
    """Debian's python3 comes without ensurepip: install the package that has it, or say which one it is."""
    version = subprocess.check_output([base, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    package = "python{}-venv".format(version.decode().strip())
    if not (system and may_install() and apt_install(package) and can_make(base)):
        sys.exit("{} can't make environments. On Debian and Ubuntu, as root: apt-get install {}".format(base, package))


def has_pip_settings() -> bool:
    """Whether the user told pip where packages come from: then pip it is, and nobody else is asked for them."""
    settings = any(name.startswith("PIP_") for name in os.environ)
    return settings or any(os.path.exists(os.path.expanduser(path)) for path in PIP_FILES)


# The system.

def may_install() -> bool:
    """Whether we are root on a Debian. Nothing here ever asks for more rights than it was given."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(package: str) -> bool:
    """Install a Debian package; the lists of packages are brought up to date first."""
    say("installing {} (apt-get)".format(package))
    run(["apt-get", "-qq", "update"], quiet=True)
    os.environ.setdefault("DEBIAN_FRONTEND", "noninteractive")
    return run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", package], quiet=True)


def run(command: Sequence[str], quiet: bool = False) -> bool:
    """Run *command*, its output where our messages go, and say whether it ended well."""
    output = subprocess.DEVNULL if quiet else 2  # standard error, whatever sys.stderr is at the moment
    try:
        return subprocess.call(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) == 0
    except OSError as error:
        say(str(error))
        return False


def say(line: str) -> None:
    print("[bootstrap] " + line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(place: str) -> Iterator[None]:
    """Of those who start at the same time, one makes the environment, and the others wait for it."""
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        file = open(place + ".lock", "w")
    except OSError as error:
        sys.exit("The dependencies go into {}, which can't be written ({}): copy the checkout to a place of your own."
                 .format(os.path.dirname(place), error.strerror))
    with file:
        if os.name == "nt":
            import msvcrt
            while True:
                with contextlib.suppress(OSError):  # it gives up after ten seconds
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
