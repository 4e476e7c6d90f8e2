#!/usr/bin/env bash
# Links the models of the global Hugging Face cache into the project's cache: nothing is held twice.
set -euo pipefail
# shellcheck source=scripts/_environment.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/_environment.sh"

case ${1-} in
  -h | --help)
    cat <<'EOT'
usage: scripts/setup_local_cache.sh [REPO ...] [--unlink]

Links what the global Hugging Face cache holds into the project's cache (MODEL_CACHE_DIR), says what
was linked and what that saves, and mends links that lead nowhere. Nothing is copied or downloaded,
and a real folder is never replaced; running it again changes nothing.

  REPO       org/name, or a source for all of its repositories (default: everything)
  --unlink   remove such links; what they lead to stays
  --help     this text
EOT
    exit 0
    ;;
esac

prepare_environment run
cd "$root"
exec "$python" -m scripts.weights link "$@"
