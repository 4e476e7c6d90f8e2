# shellcheck shell=bash
# Sourced by run.sh and test.sh: one virtual environment, `.venv`, and what is installed in it.
#
# Invariant: after prepare_environment returns, `$python` runs the project of this folder with what
# requirements.txt and pyproject.toml ask for. A stamp in `.venv` keeps a fingerprint of those two
# files, so that nothing is installed twice and an interrupted installation is taken up again.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python="$root/.venv/bin/python"

say() { printf '%s\n' "$*" >&2; }

# fail SENTENCE: says what is wrong and what helps; exit 1.
fail() {
  say "$*"
  exit 1
}

# Prints the version of the interpreter "$1" if it is too old (or "missing"), nothing if it serves.
version_problem() {
  command -v "$1" >/dev/null 2>&1 || { printf 'missing' && return; }
  "$1" -c 'import sys
if sys.version_info < (3, 11): print(".".join(map(str, sys.version_info[:3])), end="")' 2>/dev/null ||
    printf 'broken'
}

make_environment() {
  local base=${PYTHON:-python3} problem
  problem=$(version_problem "$base")
  if [ -n "$problem" ]; then
    fail "Featurebook needs Python 3.11 or newer, and $base is $problem." \
      "Install a newer one, or name it: PYTHON=/path/to/python3.12 $0"
  fi
  say "Making the virtual environment .venv with $base ..."
  "$base" -m venv --clear "$root/.venv" >&2 ||
    fail "The virtual environment could not be made: $base -m venv failed (see above)." \
      "On Debian and Ubuntu, 'apt-get install python3-venv' brings what is missing."
}

# Prints a fingerprint of what is to be installed, where, and for which Python.
fingerprint() {
  "$python" -c 'import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
parts = [str(root).encode(), sys.version.encode()]
parts += [(root / name).read_bytes() for name in ("requirements.txt", "pyproject.toml")]
print(hashlib.sha256(b"\0".join(parts)).hexdigest())' "$root"
}

# prepare_environment run|dev: what the dashboard needs, or also what the tests need.
prepare_environment() {
  local kind=$1 stamp wanted
  if [ -n "$(version_problem "$python")" ] || ! "$python" -c 'import pip' 2>/dev/null; then
    make_environment
  fi
  stamp="$root/.venv/.installed-$kind"
  wanted=$(fingerprint)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  say "Installing into .venv; the first time takes several minutes ..."
  rm -f "$root/.venv/.installed-run" "$root/.venv/.installed-dev"
  local target=.
  [ "$kind" = dev ] && target='.[dev]'
  (cd "$root" && "$python" -m pip install --disable-pip-version-check --no-input \
    -r requirements.txt -e "$target" >&2) ||
    fail "The installation failed (see above). Once the cause is removed, run $0 again."
  printf '%s\n' "$wanted" >"$root/.venv/.installed-run"
  [ "$kind" = run ] || printf '%s\n' "$wanted" >"$stamp"
}
