"""Rows and files become pages, an API and server-sent events."""
