"""What happens inside the box of a build: clean, make, and a look whether there is a program to run."""

import shlex

from hermes.plan import Plan

SYSTEM_PATH = "/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_PROGRAM = 97  # exit code of a make that went well and left no program

_SCRIPT = """
key=$1 target=$2 makes=$3; shift 3
stage() { printf '\\036%s %s\\036' "$key" "$1"; printf '\\036%s %s\\036' "$key" "$1" >&2; }
if [ -n "$makes" ]; then
  if make -n clean >/dev/null 2>&1; then stage clean; make clean >/dev/null 2>&1; fi
  stage make
  make $target || exit $?
fi
stage check
say() { printf 'hermes: %s\\n' "$*" >&2; }
if [ $# -gt 0 ]; then
  command -v -- "$1" >/dev/null 2>&1 && exit 0
  say "${makes:-the Dockerfile} went well, but there is no program '$1' (the manifest's handler)"
else
  make -n run >/dev/null 2>&1 && exit 0
  [ -x ./a.out ] && exit 0
  say "make went well, but what is to run? No handler in the manifest, no target 'run', no ./a.out"
fi
found=$(find . -type f -perm -u+x ! -path './.*' ! -name '*.sh' | sort | head -8 | tr '\\n' ' ')
say "programs here: ${found:-none}"
exit 97
"""


def build_command(plan: Plan, key: str) -> tuple[str, ...]:
    """The command of the box; `key` is in the signs of its stages (builder/stages.py). Target and handler are
    arguments, never part of the script's text."""
    makes = "make" if plan.makes else ""
    return ("sh", "-c", _SCRIPT, "build", key, plan.target, makes, *shlex.split(plan.handler))


def build_env(plan: Plan) -> dict[str, str]:
    """Compilers go through the compiler cache where the image has it (ccache.dev); a Dockerfile's own PATH
    stays."""
    return {
        **({} if plan.dockerfile else {"PATH": f"/opt/ccache:{SYSTEM_PATH}"}),
        "LC_ALL": "C.UTF-8",
        "CCACHE_BASEDIR": "/app",
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_MAXSIZE": "1G",
        "CCACHE_SLOPPINESS": "time_macros",
    }
