"""`hermes doctor`: looks at everything that an instance stands on, changes nothing, and says what to do.

A file for each thing that can be ill. A look that waits for something has a bound, and all go side by side:
what hangs is itself a finding."""
