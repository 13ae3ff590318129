"""`make screenshots`: every page of an instance with the samples, as small PNGs in docs/screenshots/.

Each at a desk and at a telephone, light and dark. docs/screenshots.md, which shows them, is written too."""

import tempfile
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from hermes.samples import sample_names
from tests.browsing import sign_in
from tests.conftest import CHROMIUM, CHROMIUM_FLAGS
from tests.programs import shell
from tests.service import Pushed, Service, wait_for

DOCS = Path(__file__).parent.parent / "docs"
FOLDER = DOCS / "screenshots"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {"wide": (1280, 900), "phone": (360, 740)}
MOST_BYTES = 4_200_000  # 25 pages, four looks each
_COLOURS = 256
_ADMIN = "root"
_GOES_ON = """
echo '::hermes progress 0.42 epoch 5 of 12'
for step in $(seq 100 900); do echo "step $step  loss 0.$((1000 - step))"; sleep 1; done
"""
_NIGHTLY = """[on]
schedule = ["0 3 * * *", { cron = "0 8 * * MON-FRI", timezone = "Europe/Berlin", overlap = "queue" }]
"""
_DESCENDS = "echo ::metric loss={}; echo ::metric speed={} steps/s"
_HEAD = """# What the pages look like

Every page, as `make screenshots` finds it on an instance with [the samples](../sample-repos/README.md): at a
desk and at a telephone, light and dark as the browser asks. All of them work without scripts.
"""


@dataclass(frozen=True)
class Shown:
    """One page."""

    name: str
    title: str
    path: str
    words: str
    user: str = "alice"


def pages(house: Service, pushed: dict[str, Pushed]) -> list[Shown]:
    """Each page with something on it."""
    repo = f"/{house.user}/mandelbrot"
    run, crash = house.run_of(pushed["mandelbrot"]), house.run_of(pushed["crash"])
    build = house.settled(pushed["failing-compile"])["builds"][0]
    live = wait_for(lambda: house.commit_page(pushed["training"])["runs"])[0]
    return [
        Shown("activity", "Activity", "/", "What your work does now, and your repositories."),
        Shown("repository", "A repository", repo, "How to push there, and what every push became."),
        Shown(
            "trends", "A repository with metrics", f"/{house.user}/descent", "How they went, push by push."
        ),
        Shown(
            "schedules",
            "A repository with schedules",
            f"/{house.user}/nightly",
            "What runs by itself, and when.",
        ),
        Shown("commit", "A commit", f"{repo}/commit/{pushed['mandelbrot'].sha}", "To send to a colleague."),
        Shown("run", "A run", f"/runs/{run['id']}", "Everything that is known of one run."),
        Shown("run-live", "A run that goes on", f"/runs/{live['id']}", "Its log comes as it is printed."),
        Shown(
            "run-failed", "A run that failed", f"/runs/{crash['id']}", "By which signal, and its last words."
        ),
        Shown("build-failed", "A build that failed", f"/builds/{build['id']}", "What the compiler said."),
        Shown("again", "Run again", f"/runs/{run['id']}/again", "The same once more, or with other values."),
        Shown(
            "artifacts", "Artifacts", f"/runs/{run['id']}/artifacts", "All that a run left, to look through."
        ),
        Shown(
            "source",
            "Source",
            f"{repo}/source/{pushed['mandelbrot'].sha}/mandelbrot.cpp",
            "As it was pushed.",
        ),
        Shown("functions", "Functions", "/functions", "What you may run with other inputs."),
        Shown(
            "function",
            "A function",
            f"/functions/{house.user}/mandelbrot",
            "Text, JSON or a file in, the result out.",
        ),
        Shown(
            "uploads",
            "Uploads",
            f"/functions/{house.user}/thumbnails/uploads",
            "Files and folders dropped here start runs; which file became what.",
        ),
        Shown("api", "API", "/api", "All that programs can ask for."),
        Shown("gpus", "GPUs and machines", "/gpus", "Who holds what, who waits, and why."),
        Shown("queue", "Queue", "/queue", "The whole order of what waits, and how it comes about."),
        Shown("tokens", "Tokens", "/settings/tokens", "Passwords for git, and for programs."),
        Shown(
            "keys", "SSH keys", "/settings/keys", "Which keys sign you in, and which one the server shows."
        ),
        Shown("secrets", "Secrets", "/settings/secrets", "Variables that runs get and nobody sees again."),
        Shown(
            "notifications",
            "Notifications",
            f"{repo}/settings/notifications",
            "Who is told that a branch broke, and whether it arrives.",
        ),
        Shown("settings", "Settings of a repository", f"{repo}/settings", "Who may do what there."),
        Shown(
            "upstream",
            "Upstream of a repository",
            f"{repo}/settings/upstream",
            "Which repository elsewhere it follows.",
        ),
        Shown(
            "not-found", "Not found", f"{repo}-hidden", "The same for what is hidden and what is not there."
        ),
        Shown("signin", "Signing in", "/signin", "With a token."),
        Shown("admin", "Users", "/admin", "For admins: accounts and their tokens.", _ADMIN),
        Shown("audit", "Audit log", "/admin/audit", "For admins: who did what that matters later.", _ADMIN),
    ]


def document(shown: list[Shown]) -> str:
    """docs/screenshots.md."""
    parts = [_HEAD]
    for page in shown:
        files = {
            f"{size}-{scheme}": f"screenshots/{page.name}-{size}-{scheme}.png"
            for size in SIZES
            for scheme in SCHEMES
        }
        rows = [f"![{page.title}, {look.replace('-', ', ')}]({file})" for look, file in files.items()]
        parts.append(f"\n## {page.title}\n\n{page.words}\n\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def small(png: bytes) -> bytes:
    """The same picture with a palette: half as large."""
    made = BytesIO()
    with Image.open(BytesIO(png)) as picture:
        flat = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        flat.save(made, "PNG", optimize=True)
    return made.getvalue()


def take(browser: Browser, house: Service, shown: list[Shown], tokens: dict[str, str]) -> int:
    """All pictures; how many bytes they have. `tokens`: of the users who look."""
    total = 0
    for scheme, (user, token) in product(SCHEMES, tokens.items()):
        context = browser.new_context(base_url=house.url, color_scheme=scheme, reduced_motion="reduce")
        page = context.new_page()
        sign_in(page, house, token)
        for each in (each for each in shown if each.user == user):
            page.goto(each.path)
            for size, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(200)
                data = small(page.screenshot())
                (FOLDER / f"{each.name}-{size}-{scheme}.png").write_bytes(data)
                total += len(data)
        context.close()
    return total


def push_samples(house: Service, root: str) -> dict[str, Pushed]:
    """All of them, a program that goes on while pictures are taken, and what waits until it has ended."""
    pushed = {name: house.push(name, repo=name) for name in sample_names()}
    descent = house.push(shell(_DESCENDS.format(0.9, 210)), repo="descent")
    for loss, speed in ((0.4, 230), (0.25, 180), (0.22, 320)):
        descent.tree.write({"main.sh": _DESCENDS.format(loss, speed)}).commit(f"loss {loss}")
        house.push(descent.tree, repo="descent")
    upload_some(house)
    house.run_of(house.push(shell("echo done", _NIGHTLY), repo="nightly"))
    with house.client() as client:
        for act in ("1/run", "2/pause"):
            assert client.post(f"/api/v1/repos/{house.user}/nightly/schedules/{act}").is_success
    training = house.push(shell(_GOES_ON, "[run]\ncpus = 1\n"), "detach", repo="training")
    live = wait_for(lambda: house.commit_page(training)["runs"])[0]
    wait_for(lambda: house.api(f"/runs/{live['id']}")["ranks"][0]["progress"])
    large = shell("true", "[run]\ncpus = 2\n")
    for repo, user, token in (("sweep", house.user, house.token), ("evaluation", _ADMIN, root)):
        house.push(large, "detach", repo=f"{user}/{repo}", user=user, token=token)
    return pushed | {"training": training}


def upload_some(house: Service) -> None:
    """Pictures, of which smaller ones are made; one is none."""
    copies = 'cp "$HERMES_INPUT_FILE" "$HERMES_OUTPUT_DIR/small.png"'
    program = f'test "$HERMES_INPUT_PATH" != holiday/broken.png && {copies}'
    house.settled(house.push(shell(program, '[on]\nupload = "*.png"\n'), "build-only", repo="thumbnails"))
    with house.client() as client:
        for name in ("cat.png", "holiday/beach.png", "holiday/broken.png"):
            place = f"/api/v1/functions/{house.user}/thumbnails/inbox/{name}"
            run = client.put(place, content=b"no picture").raise_for_status().json()["run"]
            wait_for(lambda run=run: house.api(f"/runs/{run}")["ended_at"])  # type: ignore[misc]


def set_secrets(house: Service) -> None:
    """A few, with nothing in them."""
    with house.client() as client:
        for whose, name, branches in (
            ("user", "DATASET_TOKEN", ["main"]),
            ("user", "WANDB_API_KEY", []),
            (f"repos/{house.user}/mandelbrot", "DATABASE_PASSWORD", ["main", "release/*"]),
        ):
            body = {"value": "not a real one", "branches": branches}
            client.put(f"/api/v1/{whose}/secrets/{name}", json=body).raise_for_status()


def tell(house: Service) -> None:
    """Two, of which one has not arrived."""
    with house.client() as client:
        for kind, target, branches in (
            ("slack", "https://hooks.slack.invalid/services/T0/B0/xyz", []),
            ("webhook", "https://ci.lab.invalid/hermes", ["main", "release/*"]),
        ):
            body = {"kind": kind, "target": target, "branches": branches}
            path = f"/api/v1/repos/{house.user}/mandelbrot/notifications"
            made = client.post(path, json=body).raise_for_status().json()
        client.post(f"{path}/{made['id']}/test").raise_for_status()


def main() -> None:
    """Starts an instance in a temporary directory, and ends it."""
    with tempfile.TemporaryDirectory(prefix="hermes-screenshots-") as folder:
        env = {"HERMES_URL": "http://gpu.lab:8000", "HERMES_TRUST": "all", "HERMES_CPUS": "2"}
        house = Service(Path(folder), env)
        house.token = house.add_user(house.user)
        root = house.admin("user", "add", "--admin", _ADMIN).stdout.strip()
        house.start()
        try:
            shown = pages(house, push_samples(house, root))
            set_secrets(house)
            tell(house)
            FOLDER.mkdir(exist_ok=True)
            for old in FOLDER.glob("*.png"):
                old.unlink()
            with sync_playwright() as playwright:
                path = CHROMIUM if Path(CHROMIUM).exists() else None
                browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
                total = take(browser, house, shown, {house.user: house.token, _ADMIN: root})
                browser.close()
        finally:
            house.stop()
    (DOCS / "screenshots.md").write_text(document(shown))
    assert total < MOST_BYTES, f"{total} bytes of pictures are too many for a repository"
    print(f"{len(shown) * 4} pictures, {total >> 10} KiB, in {FOLDER.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
