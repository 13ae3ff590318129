"""Measurements of Hermes against what they would cost otherwise: `make bench NAME=...`, docs/performance.md.

Each module is one measurement and says what is measured against what. It prints what it does first and its
figures last, one `name value unit` a line; nothing that it started is left behind."""
