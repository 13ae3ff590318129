"""Everything that turns an event into queued work: GitHub's webhooks, schedules, uploads.

Nothing of these is in this version. A push by git is received by `gitserver` and recorded by `hermes.pushes`,
which this folder will call as well."""
