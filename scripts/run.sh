#!/usr/bin/env bash
# Makes .venv if it is missing, installs what is missing, and starts the dashboard in the foreground.
set -euo pipefail
# shellcheck source=scripts/_environment.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/_environment.sh"

usage() {
  cat <<'EOF'
usage: scripts/run.sh [--port N] [--host H] [--insecure]

Starts the dashboard at http://127.0.0.1:8501, on the embedded demo source. The first start makes
.venv and installs into it; later ones take seconds. Ctrl-C ends it.

  --port N     port to listen on (default: PORT of the environment or of .env, else 8501)
  --host H     address to listen on (default: HOST of the environment or of .env, else 127.0.0.1)
  --insecure   serve an address other than loopback without sign-in and without a token
  --help       this text
EOF
}

wrong_usage() {
  say "$1"
  usage >&2
  exit 2
}

check_port() {
  case $1 in
    *[!0-9]* | ??????*) wrong_usage "--port takes a number from 1 to 65535, not '$1'." ;;
  esac
  if [ "$1" -lt 1 ] || [ "$1" -gt 65535 ]; then
    wrong_usage "--port takes a number from 1 to 65535, not '$1'."
  fi
}

host='' port=''
while [ $# -gt 0 ]; do
  case $1 in
    --port | --host)
      [ $# -ge 2 ] || wrong_usage "$1 needs a value."
      if [ "$1" = --port ]; then port=$2; else host=$2; fi
      [ -n "$2" ] || wrong_usage "$1 needs a value."
      shift
      ;;
    --port=?*) port=${1#--port=} ;;
    --host=?*) host=${1#--host=} ;;
    --insecure) export FEATUREBOOK_INSECURE=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) wrong_usage "'$1' is not an option of this command." ;;
  esac
  shift
done
[ -z "$port" ] || check_port "$port"

prepare_environment run
cd "$root"

# What was not given comes from the settings; what cannot be listened on is said before anything loads.
address=$(
  "$python" - "$host" "$port" <<'EOF'
import errno
import socket
import sys

from pydantic import ValidationError

from dashboard.settings import ServerSettings


def refuse(status: int, sentence: str) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(status)


given = {name: value for name, value in zip(("host", "port"), sys.argv[1:], strict=True) if value}
try:
    settings = ServerSettings(**given)
except ValidationError as error:
    wrong = error.errors()[0]
    refuse(2, f"{'.'.join(map(str, wrong['loc'])).upper()} is set to {wrong['input']!r}: {wrong['msg']}.")
host, port = settings.host, settings.port
try:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
except socket.gaierror:
    refuse(1, f"{host} is no address of this machine: choose another with --host.")
except OSError as error:
    if error.errno == errno.EADDRINUSE:
        refuse(1, f"Port {port} of {host} is taken: end what listens there, or choose another with --port.")
    refuse(1, f"{host}, port {port}, cannot be listened on: {error.strerror}.")
print(host, port)
EOF
) || exit $?
read -r host port <<<"$address"
export HOST=$host PORT=$port

# An empty store is filled with some answers of the demo, so that every page has something to show.
export FEATUREBOOK_PREPARE=${FEATUREBOOK_PREPARE:-1}

exec "$python" -m dashboard --server.address "$host" --server.port "$port"
