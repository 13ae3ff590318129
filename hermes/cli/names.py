"""Which commands there are, where each is, and the first Hermes' spellings of them."""

START = """\
  hermes init NAME            a project that builds and runs at the first push
  hermes login URL            sign in, and let git do so
  git push gpu main           build it and run it, output here
  hermes run OWNER/NAME       run it again with other inputs
  hermes executions list      what ran, and what came of it

hermes --help: all commands.  hermes COMMAND --help: one of them."""

#: For `hermes --help`.
GROUPS = {
    "Use": ("init", "login", "logout", "whoami", "run", "put", "logs", "artifacts", "github", "notify"),
    "Look": ("executions", "schedules", "functions", "templates", "images", "gpus"),
    "Operate": ("up", "demo", "doctor", "admin", "completion"),
}
HIDDEN = ("git-credential", "execution", "function")

#: `module:attribute` below hermes.cli; a module is imported when its command is called.
PLACES = {
    "init": "init:init",
    "templates": "templates:templates",
    "login": "login:login",
    "logout": "login:logout",
    "whoami": "login:whoami",
    "git-credential": "login:git_credential",
    "run": "run:run",
    "put": "put:put",
    "logs": "logs:logs",
    "artifacts": "artifacts:artifacts",
    "github": "github:github",
    "notify": "notify:notify",
    "executions": "executions:executions",
    "execution": "executions:executions",
    "schedules": "schedules:schedules",
    "functions": "functions:functions",
    "function": "functions:functions",
    "gpus": "gpus:gpus",
    "images": "images:images",
    "up": "up:up",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "admin": "admin:admin",
    "completion": "completion:completion",
}

#: Likewise, of `hermes admin`.
ADMIN = {
    "backup": "admin_backup:backup",
    "end": "admin_end:end",
    "gpu": "admin_gpus:gpu",
    "key": "admin_keys:key",
    "repo": "admin_repos:repo",
    "restore": "admin_backup:restore",
    "retention": "admin_retention:retention",
    "secret": "admin_secrets:secret",
    "token": "admin_tokens:token",
    "user": "admin_users:user",
    "watch": "admin_watch:watch",
}

#: `hermes function:run` and so on, as the first Hermes spelled them.
ANCESTORS = {
    "function:init": ("init",),
    "function:run": ("run",),
    "function:list": ("functions", "list"),
    "function:delete": ("functions", "delete"),
    "execution:list": ("executions", "list"),
    "execution:inspect": ("executions", "inspect"),
    "remote:login": ("login",),
    "remote:logout": ("logout",),
    "remote:whoami": ("whoami",),
}

#: What the first Hermes had and nobody needs here: what to do instead.
GONE = {
    "function:build": "git push gpu main builds it, on the server",
    "function:deploy": "git push gpu main builds it, and then it can be run",
    "remote:register": "an operator makes users: hermes admin user add NAME",
    "remote:unregister": "an operator ends users: hermes admin user disable NAME",
    "config": "hermes login URL is all that has to be set",
}
