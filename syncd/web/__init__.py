"""The web part: HTTP in front of the directory. The only home of Starlette, uvicorn and httptools."""

from syncd.web.router import Application, application

__all__ = ["Application", "application"]
