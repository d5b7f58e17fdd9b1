# Two images from the one lock file: `backend` (web, housekeeper, librarian, migrate) has no torch, `worker` (node) no web server.

FROM node:22-bookworm-slim AS frontend
WORKDIR /app/frontend
COPY frontend/package.json frontend/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY frontend ./
RUN npm run build

FROM python:3.11-slim-bookworm AS base
# The same uv as scripts/bootstrap_uv.py.
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_HTTP_TIMEOUT=600 \
    PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 TUNEFORGE_HOME=/data
# One user in both images: they share the home.
RUN useradd --uid 10001 --create-home tuneforge && install -d -o tuneforge -g tuneforge -m 0711 /data
WORKDIR /app
COPY pyproject.toml uv.lock README.md ./

FROM base AS backend
RUN uv sync --frozen --no-dev --no-install-project --extra backend
COPY backend backend
COPY worker worker
COPY migrations migrations
COPY frontend/templates frontend/templates
COPY --from=frontend /app/frontend/dist frontend/dist
RUN uv sync --frozen --no-dev --extra backend
USER tuneforge
VOLUME /data
EXPOSE 8000
CMD ["tuneforge", "web"]

FROM base AS worker
# Triton compiles small C files when a model runs.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN uv sync --frozen --no-dev --no-install-project --extra worker --extra deepspeed --extra bitsandbytes
COPY backend backend
COPY worker worker
RUN uv sync --frozen --no-dev --extra worker --extra deepspeed --extra bitsandbytes
USER tuneforge
VOLUME /data
CMD ["tuneforge-node", "node"]
