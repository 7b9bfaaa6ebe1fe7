"""A page and an HTTP interface for searching a gallery; needs FastAPI and uvicorn."""
