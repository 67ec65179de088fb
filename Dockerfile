# The worker's image; `docker run IMAGE rhesis api --host 0.0.0.0` serves the API from the same one.
FROM python:3.12-slim

RUN useradd --create-home --shell /usr/sbin/nologin celery_user
WORKDIR /app

# The locked packages first: they change less often than the code.
COPY requirements/run.txt requirements/run.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/run.txt

COPY pyproject.toml README.md start-worker.sh ./
COPY packages packages
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation ./packages/chordkeeper . \
    && chown celery_user /app

ENV CELERY_WORKER_CONCURRENCY=8 \
    CELERY_WORKER_PREFETCH_MULTIPLIER=4 \
    CELERY_WORKER_MAX_TASKS_PER_CHILD=1000 \
    CELERY_WORKER_LOGLEVEL=INFO \
    CELERY_WORKER_OPTS="--without-heartbeat --without-gossip"
ENV HEALTH_PORT=8080

USER celery_user
# Flower, which other machines reach only if FLOWER_BASIC_AUTH is set.
EXPOSE 5555
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['HEALTH_PORT']}/ping\", timeout=8)"]
CMD ["./start-worker.sh"]
