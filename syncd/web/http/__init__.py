"""HTTP/1.1 server: sockets, limits of a connection, shutdown (uvicorn)."""
