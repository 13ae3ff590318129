"""The contract that every part of Hermes shares; it imports none of them (CONTRIBUTING.md)."""

__version__ = "0.1.0"
