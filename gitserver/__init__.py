"""Git over HTTP: git's own programs receive and serve, behind our ASGI app."""
