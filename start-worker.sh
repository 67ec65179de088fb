#!/bin/sh
# Start a Celery worker with the documented command, watch over it, and end with its exit code.
#
# CELERY_WORKER_CONCURRENCY, CELERY_WORKER_PREFETCH_MULTIPLIER, CELERY_WORKER_MAX_TASKS_PER_CHILD,
# CELERY_WORKER_LOGLEVEL and CELERY_WORKER_OPTS shape the command, CELERY_WORKER_LOGFILE names its log.
# HEALTH_PORT starts the worker's own health server, ENABLE_FLOWER=yes starts Flower on port 5555 (FLOWER_PORT).

say() { echo "start-worker: $*" >&2; }

worker='' flower='' watcher='' signalled=''

# Ctrl-C reaches the worker by itself, and a second one would make it drop its tasks: so it is passed on as TERM.
pass_on() {
    signalled=yes
    if [ -z "$worker" ]; then exit "$1"; fi
    kill -TERM "$worker" 2>/dev/null
}
trap 'pass_on 143' TERM
trap 'pass_on 130' INT

end_helper() {
    if [ -n "$1" ]; then
        kill -TERM "$1" 2>/dev/null
        wait "$1" 2>/dev/null
    fi
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ -x "$here/.venv/bin/celery" ]; then PATH="$here/.venv/bin:$PATH"; fi
CELERY_WORKER_LOGFILE=${CELERY_WORKER_LOGFILE:-celery_worker.log}
export PATH CELERY_WORKER_LOGFILE

# Whether they are set, never to what: they hold passwords.
for name in DATABASE_URL SQLALCHEMY_DATABASE_URL BROKER_URL CELERY_RESULT_BACKEND RHESIS_QUEUE_URL RHESIS_SECRET_KEYS
do
    if eval "[ -n \"\${$name:-}\" ]"; then say "$name is set"; else say "$name is not set"; fi
done

if ! python -c 'import rhesis.backend.worker'; then
    say "the application cannot be imported: install it with python3 dev.py install"
    exit 1
fi

# Bounded by Python, because not every system has timeout(1).
if ! python -c '
import subprocess, sys
try:
    sys.exit(subprocess.call([sys.executable, "-m", "rhesis.backend.cli", *sys.argv[1:]], stdout=2, timeout=10))
except subprocess.TimeoutExpired:
    sys.exit("no answer within 10 s")
' doctor --only broker
then
    say "warning: the broker could not be tested, the worker is started all the same"
fi

case "${ENABLE_FLOWER:-no}" in
yes | true | on | 1)
    if command -v flower >/dev/null 2>&1; then
        address=127.0.0.1
        if [ -n "${FLOWER_BASIC_AUTH:-}" ]; then address=0.0.0.0; fi
        say "Flower on $address port ${FLOWER_PORT:-5555}; other machines reach it only with FLOWER_BASIC_AUTH set"
        say "Flower shows nothing on a broker without fanout, such as sqla+postgresql"
        celery -A rhesis.backend.worker.app flower --address="$address" --port="${FLOWER_PORT:-5555}" &
        flower=$!
    else
        say "Flower is not installed (pip install flower): the worker is started without it"
    fi
    ;;
esac

# The options are words to be split.
# shellcheck disable=SC2086
celery -A rhesis.backend.worker.app worker \
    --loglevel="${CELERY_WORKER_LOGLEVEL:-INFO}" \
    --concurrency="${CELERY_WORKER_CONCURRENCY:-8}" \
    --prefetch-multiplier="${CELERY_WORKER_PREFETCH_MULTIPLIER:-4}" \
    --max-tasks-per-child="${CELERY_WORKER_MAX_TASKS_PER_CHILD:-1000}" \
    ${CELERY_WORKER_OPTS---without-heartbeat --without-gossip} &
worker=$!
say "worker started (process $worker), log in $CELERY_WORKER_LOGFILE"

(
    trap 'kill "$!" 2>/dev/null; exit' TERM
    sleep 5 &
    wait "$!"
    say "the worker is alive after 5 s"
) &
watcher=$!

# A signal ends `wait` before the worker has ended: then it is waited for again.
code=0
while :; do
    signalled=''
    wait "$worker"
    found=$?
    # 127: the shell has told the worker's code already.
    if [ "$found" -ne 127 ]; then code=$found; fi
    if [ -z "$signalled" ]; then break; fi
done

if kill -0 "$watcher" 2>/dev/null && [ "$code" -ne 0 ]; then say "the worker ended within 5 s"; fi
end_helper "$watcher"
end_helper "$flower"
say "worker ended with exit code $code"
exit "$code"
