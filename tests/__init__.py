"""Tests through the front door: real git, HTTP, Redis, Docker engine, browser."""
