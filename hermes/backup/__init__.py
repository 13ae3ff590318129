"""Backup and restore of an instance: the state of one moment, taken while the service runs."""

DATABASE = "hermes.db"
INFO = "backup.json"
SUMS = "SHA256SUMS"  # as sha256sum writes and checks it
FORMAT = 1
KEYS = ("secret_key", "ssh_host_ed25519_key", "callback_key", "preview_key")
