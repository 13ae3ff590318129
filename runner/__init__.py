"""An image becomes a result: slots, GPUs, verdicts, artifacts, telemetry."""
