#!/usr/bin/env bash
# Installs what the tests need, a browser included, and runs every gate and test that CI runs.
set -euo pipefail
# shellcheck source=scripts/_environment.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/_environment.sh"

case ${1-} in
  -h | --help)
    cat <<'EOF'
usage: scripts/test.sh [PYTEST ARGUMENT ...]

Installs what the tests need into .venv, then runs ruff, mypy, import-linter, shellcheck and pytest.
Arguments go to pytest: scripts/test.sh -k memo. Exit 0 if everything passes, 1 otherwise.
Without a Chromium that can be found or installed, the browser tests are left out, and this is said;
with CI=true that is a failure.
EOF
    exit 0
    ;;
esac

prepare_environment dev
cd "$root"

have_browser() { "$python" -m tests.chromium >/dev/null 2>&1; }

install_browser() {
  local as_root=''
  if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" -ne 0 ]; then as_root='sudo -n'; fi
    say 'Installing Chromium with apt-get ...'
    # shellcheck disable=SC2086 # two words, or none
    if $as_root apt-get update -qq >&2 &&
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >&2 &&
      have_browser; then
      return
    fi
  fi
  say "Installing Playwright's Chromium ..."
  "$python" -m playwright install chromium >&2 || true
}

have_browser || install_browser
selection=()
if ! have_browser; then
  [ "${CI:-}" != true ] || fail 'No Chromium was found or could be installed; CI runs the browser tests.'
  say 'No Chromium was found or could be installed: the browser tests are left out.'
  selection=(-m 'not browser')
fi

failed=''
# gate NAME COMMAND ...: runs it, and remembers a failure, so that one run shows all of them.
gate() {
  local name=$1
  shift
  say "== $name"
  "$@" >&2 || failed="$failed, $name"
}

bin="$root/.venv/bin"
gate 'ruff check' "$python" -m ruff check .
gate 'ruff format' "$python" -m ruff format --check .
gate 'mypy' "$python" -m mypy
gate 'import-linter' "$bin/lint-imports" --no-logo
gate 'shellcheck' "$bin/shellcheck" scripts/*.sh .ci/run
[ -z "$failed" ] || say "Failed so far: ${failed#, }"

say '== pytest'
status=0
"$python" -m pytest ${selection[@]+"${selection[@]}"} "$@" || status=$?
[ -z "$failed" ] || fail "Failed before pytest: ${failed#, }"
exit "$status"
