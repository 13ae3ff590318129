"""Everything that turns an event into queued work."""
