"""The manifest by itself: every key, every refusal with its place, and what becomes of it in a plan."""

from typing import Any

import pytest

from hermes.command import substitute
from hermes.commit_facts import Tree
from hermes.errors import ManifestError, Refused, UserError
from hermes.gpu import Gpu
from hermes.images import DEFAULT_TABLE, load_images
from hermes.manifest import Manifest
from hermes.manifest_file import read_manifest
from hermes.options import parse_options
from hermes.plan import Instance, Plan, make_plan
from hermes.units import parse_size_bytes, parse_span_s, show_limit, show_size, show_span

IMAGES = load_images(DEFAULT_TABLE)
H200 = Gpu("GPU-1", 0, "H200", 140 << 30, "9.0")
T4 = Gpu("GPU-2", 1, "Tesla T4", 15 << 30, "7.5")
LAB = Instance(IMAGES, 86400.0, (H200, T4), cpus=16, memory_bytes=64 << 30)
LAPTOP = Instance(IMAGES, 86400.0, (), cpus=2, memory_bytes=8 << 30)


def read(text: str, name: str = "hermes.toml") -> Manifest:
    return read_manifest(name, text.encode())


def value(manifest: Manifest, key: str) -> Any:
    found: Any = manifest
    for part in key.split("."):
        found = getattr(found, part)
    return found


def refusal(text: str | bytes, name: str = "hermes.toml") -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(name, text.encode() if isinstance(text, str) else text)
    return str(caught.value)


def plan(
    text: str = "",
    *paths: str,
    here: Instance = LAB,
    parameters: dict[str, str] | None = None,
    runs: bool = True,
    json: bool = False,
) -> Plan:
    tree = Tree(frozenset(["Makefile", *paths]), "repo", parameters=parameters or {})
    manifest = read(text, "hermes.config.json" if json else "hermes.toml")
    return make_plan(manifest, tree, here, ancestor=json, runs=runs)


def plan_refusal(text: str, *paths: str, here: Instance = LAB) -> str:
    with pytest.raises(Refused) as caught:
        plan(text, *paths, here=here)
    return f"{caught.value}\n{caught.value.hint}"


ACCEPTED: list[tuple[str, str, Any]] = [
    ('name = "pi-montecarlo"', "name", "pi-montecarlo"),
    ('version = "10.20.300"', "version", "10.20.300"),
    ('language = "cuda"', "language", "cuda"),
    ('language = "cpp"', "language", "cpp"),
    ("handler = \"./pi --fast 'two words'\"", "handler", "./pi --fast 'two words'"),
    ("public = true", "public", True),
    ('[build]\nimage = "cuda-13.0"', "build.image", "cuda-13.0"),
    ('[build]\ntarget = "release/all"', "build.target", "release/all"),
    ("[build]\npackages = []", "build.packages", []),
    ('[build]\ntimeout = "15m"', "build.timeout", 900),
    ('[run]\nargs = ["1000000", 3, 1.5, true]', "run.args", ["1000000", "3", "1.5", "true"]),
    ('run.env = { OMP_NUM_THREADS = "2", N = 4 }', "run.env", {"OMP_NUM_THREADS": "2", "N": "4"}),
    ('[run]\nstdin = "data/small.txt"', "run.stdin", "data/small.txt"),
    ('[run]\ntimeout = "1h30m"', "run.timeout", 5400),
    ("[run]\ntimeout = 90", "run.timeout", 90),
    ("[run]\ncpus = 0.5", "run.cpus", 0.5),
    ('[run]\nmemory = "4G"', "run.memory", 4 << 30),
    ("[run]\nnetwork = false", "run.network", False),
    ('[run]\nartifacts = ["*.png", "out/*.csv"]', "run.artifacts", ["*.png", "out/*.csv"]),
    ("[run]\nretries = 0", "run.retries", 0),
    ("[gpu]\ncount = 0", "gpu.count", 0),
    ('[gpu]\nmemory = "8G"', "gpu.memory", 8 << 30),
    ('[gpu]\ncapability = "8.0"', "gpu.capability", "8.0"),
    ("[gpu]\ncapability = 9.0", "gpu.capability", "9.0"),
    ('[gpu]\nmodel = "H200"', "gpu.model", "H200"),
    ("[gpu]\nshare = true", "gpu.share", True),
    ("[ranks]\nrepeat = 10", "ranks.repeat", 10),
    ("[ranks]\nparallel = false", "ranks.parallel", False),
    ("[ranks]\nsame_host = true", "ranks.same_host", True),
    ("[ranks]\nmatrix = { n = [1000, 2000] }", "ranks.matrix", {"n": ["1000", "2000"]}),
    ('[on]\npush = ["main"]', "on.push", ["main"]),
    ("on.push = []", "on.push", []),
    ("\ufeff# a byte order mark\npublic = true", "public", True),
    ('"name" = "quoted"', "name", "quoted"),
]


@pytest.mark.parametrize(("text", "key", "wanted"), ACCEPTED, ids=[key for _, key, _ in ACCEPTED])
def test_key_is_read(text: str, key: str, wanted: Any) -> None:
    assert value(read(text), key) == wanted


REFUSED: list[tuple[str, str]] = [
    ("name = 'pi'\n\n\n[run]\n\n\ntiemout = '2m'", "7:1: unknown key 'tiemout', did you mean 'timeout'?"),
    ('tiemout = "2m"', "1:1: unknown key 'tiemout'; known here: name, version, language"),
    ('timeout = "2m"', "1:1: unknown key 'timeout' here; it belongs into [build]"),
    ('cpus = "2"', "1:1: unknown key 'cpus' here; it belongs into [run]"),
    ("[gpus]\ncount = 1", "1:1: unknown key 'gpus', did you mean 'gpu'?"),
    ("[run]\n  zzz = 1", "2:3: unknown key 'zzz'; known here: args, env"),
    ("name = 'a'\nname = 'b'", "2:"),
    ("name = \nversion = '1.0.0'", "1:8: not TOML: "),
    ("[run", "1:1: not TOML: expected ']' at the end of a table declaration"),
    ("a = [" + "[" * 3000, "1:1: nested too deeply"),
    ('name = "Über"', "1:1: name = 'Über': use a-z 0-9 _ . -, for example \"pi-montecarlo\""),
    ('name = "../../etc"', "1:1: name = '../../etc': use a-z"),
    ('version = "1.0"', "1:1: version = '1.0': use three numbers"),
    ('language = "rust"', "1:1: language = 'rust': must be one of 'cuda' or 'cpp'"),
    ('handler = ""', "1:1: handler: must name a program, for example ./a.out"),
    ('handler = "./a \'b"', "1:1: handler: not a command line: "),
    ('public = "maybe"', "1:1: public: "),
    ('[build]\ntarget = "all; rm -rf /"', "2:1: build.target: must be one word of letters"),
    ('[build]\ntarget = "-f"', "2:1: build.target: must be one word"),
    ('[build]\ntimeout = "soon"', "2:1: build.timeout: 'soon' is not a duration; write for example 90s"),
    ('[build]\ntimeout = "0s"', "2:1: build.timeout: a duration must be more than 0"),
    ('[run]\nargs = "one"', "2:1: run.args: "),
    ("[run]\nargs = [[1]]", "2:1: run.args: "),
    ('[run]\nenv = { "A-B" = "1" }', "2:1: run.env: 'A-B' is not the name of a variable"),
    ('[run]\nenv = { PATH = "/x" }', "2:1: run.env: PATH is set by Hermes and cannot be changed here"),
    ('[run]\nenv = { HERMES_RUN = "1" }', "2:1: run.env: HERMES_RUN is set by Hermes"),
    ('[run.env]\nLD_PRELOAD = "/x"', "1:1: run.env: LD_PRELOAD is set by Hermes"),
    ('[run]\nstdin = "/etc/passwd"', "2:1: run.stdin: must be a path inside the repository, without .."),
    ('[run]\nstdin = "../x"', "2:1: run.stdin: must be a path inside"),
    ('[run]\nartifacts = ["../*"]', "2:1: run.artifacts: must be a path inside"),
    ("[run]\ncpus = 0", "2:1: run.cpus: input should be greater than 0"),
    ("[run]\ncpus = nan", "2:1: run.cpus: "),
    ("[run]\ncpus = inf", "2:1: run.cpus: "),
    ('[run]\nmemory = "lots"', "2:1: run.memory: 'lots' is not a size; write for example 512M, 4G or 1.5G"),
    ('[run]\nmemory = "1K"', "2:1: run.memory: "),
    ("[run]\nretries = -1", "2:1: run.retries: "),
    ("[gpu]\ncount = -1", "2:1: gpu.count: "),
    ("[gpu]\ncount = 1.5", "2:1: gpu.count: "),
    ('[gpu]\ncapability = "hopper"', "2:1: gpu.capability = 'hopper': use a compute capability such as"),
    ("[ranks]\nrepeat = 0", "2:1: ranks.repeat: "),
    ("[ranks]\nrepeat = 10001", "2:1: ranks.repeat: "),
    ("[ranks]\nmatrix = { n = [] }", "2:1: ranks.matrix"),
    ("run = 5", "1:1: run: "),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[words[:50] for _, words in REFUSED])
def test_mistake_is_told_with_its_place(text: str, words: str) -> None:
    assert refusal(text).startswith(f"hermes.toml:{words}")


def test_several_mistakes_are_counted_and_the_first_in_the_file_is_told() -> None:
    assert refusal("public = 7\n[run]\ncpus = 0\nzzz = 1").startswith("hermes.toml:1:1: public: ")
    assert refusal("public = 7\n[run]\ncpus = 0\nzzz = 1").endswith("(and 2 more)")


NOT_YET = [
    ("[ranks]\nparallel = true", "ranks.parallel"),
    ("[ranks]\nsame_host = false", "ranks.same_host"),
    ('[on]\nupload = "*.png"', "on.upload"),
]


@pytest.mark.parametrize(("text", "key"), NOT_YET, ids=[key for _, key in NOT_YET])
def test_key_of_a_later_version_is_refused_and_not_ignored(text: str, key: str) -> None:
    assert refusal(text) == f"hermes.toml:2:1: {key} is not supported by this version"


def test_manifest_that_is_no_text_is_refused() -> None:
    assert refusal(b"name = 'a'\n\xff\xfe\x00") == "hermes.toml:2:1: not a text file in UTF-8"


def test_manifest_of_10_megabytes_is_refused_unread() -> None:
    assert refusal(b"#" * (10 << 20)) == "hermes.toml:1:1: 10485760 bytes; a manifest has at most 262144"


JSON_REFUSED = [
    ("[]", "1:1: must be an object: { … }"),
    ("{", "1:2: not JSON: expecting property name"),
    ('{\n  "language": "cpp",\n}', "3:1: not JSON: "),
    ('{\n  "languge": "cpp"\n}', "2:4: unknown key 'languge', did you mean 'language'?"),
    ('{"functionVersion": "1"}', "1:3: functionVersion = '1': use three numbers"),
    ('{"gpuCapable": "perhaps"}', "1:3: gpuCapable: "),
    ('{"scope": "friends"}', "1:3: scope = 'friends': must be one of 'public' or 'private'"),
]


@pytest.mark.parametrize(("text", "words"), JSON_REFUSED, ids=[words for _, words in JSON_REFUSED])
def test_mistake_in_the_ancestors_manifest_is_told_with_its_place(text: str, words: str) -> None:
    assert refusal(text, "hermes.config.json").startswith(f"hermes.config.json:{words}")


def test_ancestors_manifest_needs_no_edit() -> None:
    text = """{"functionName": "sum_all", "language": "cpp", "gpuCapable": true, "scope": "private",
               "functionVersion": "12.0.34", "handler": "./a.out", "imageName": "x/y"}"""
    manifest = read(text, "hermes.config.json")
    assert (manifest.name, manifest.version, manifest.language) == ("sum_all", "12.0.34", "cpp")
    assert (manifest.handler, manifest.public, manifest.gpu.count) == ("./a.out", False, 1)


@pytest.mark.parametrize(
    ("written", "size"), [("512M", 512 << 20), ("1.5g", 3 << 29), ("64 MiB", 64 << 20), (7, 7)]
)
def test_sizes_are_read_as_people_write_them(written: str | int, size: int) -> None:
    assert parse_size_bytes(written) == size


@pytest.mark.parametrize(
    ("written", "span_s"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), ("0.5", 0.5), (3, 3)]
)
def test_durations_are_read_as_people_write_them(written: str | int, span_s: float) -> None:
    assert parse_span_s(written) == span_s


@pytest.mark.parametrize("written", ["", "h", "-1", "nan", "inf", "1e99", "3 parsecs", "0"])
def test_durations_that_are_none_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_span_s(written)


def test_sizes_and_durations_are_shown_short() -> None:
    assert [show_size(n) for n in (5, 3_900_000, 312 << 20, 2 << 30)] == [
        "5 B",
        "3.7 MiB",
        "312 MiB",
        "2.0 GiB",
    ]
    assert [show_span(s) for s in (0.412, 12.3, 125, 11520)] == ["0.41 s", "12.3 s", "2 m 05 s", "3 h 12 m"]
    assert [show_limit(s) for s in (2, 900, 3600, 90)] == ["2 s", "15 m", "1 h", "90 s"]


def test_empty_manifest_has_defaults_that_work() -> None:
    made = plan("")
    assert (made.name, made.language, made.image, made.handler) == ("repo", "cpp", "cpp", "")
    assert (made.build_timeout_s, made.timeout_s, made.cpus, made.memory_bytes) == (900, 3600, 2, 4 << 30)
    assert (made.gpu.count, made.ranks, made.runs, made.public) == (0, [{}], True, None)


def test_a_tree_with_cuda_files_gets_cuda_and_a_gpu() -> None:
    made = plan("", "src/pi.cu")
    assert (made.language, made.image, made.gpu.count) == ("cuda", "cuda-13.0", 1)


def test_image_that_is_not_offered_is_refused_with_what_there_is() -> None:
    words = plan_refusal('[build]\nimage = "cuda-13.1"')
    assert words.startswith("build.image = 'cuda-13.1': no such image here, did you mean 'cuda-13.0'?")
    assert words.endswith("it offers: cpp, cuda-13.0")


def test_image_without_the_compiler_is_refused() -> None:
    assert "has no compiler for language = 'cuda'" in plan_refusal(
        'language = "cuda"\n[build]\nimage = "cpp"'
    )


PLAN_REFUSED: list[tuple[str, Instance, str]] = [
    ("[gpu]\ncount = 1", LAPTOP, "this instance has no GPU\nset gpu.count = 0 in hermes.toml, or push with"),
    (
        "[gpu]\ncount = 3",
        LAB,
        "[gpu] asks for 3 GPUs: impossible on this instance\nit has: H200 (140 GiB, 9.0), Te",
    ),
    ("[gpu]\ncount = 1\nmemory = '200G'", LAB, "[gpu] asks for 1 GPU of 200 GiB: impossible"),
    ("[gpu]\ncount = 1\ncapability = '10.0'", LAB, "[gpu] asks for 1 GPU with capability 10.0: impossible"),
    ("[gpu]\ncount = 2\nmodel = 'h200'", LAB, "[gpu] asks for 2 GPUs of model h200: impossible"),
    ("[run]\ncpus = 64", LAB, "run.cpus = 64: this instance has 16\nlower run.cpus"),
    ("[run]\nmemory = '1T'", LAB, "run.memory = 1.0 TiB: this instance has 64 GiB"),
    ("[run]\ntimeout = '2d'", LAB, "run.timeout = 2 d: this instance allows 24 h at most"),
    ("[build]\ntimeout = '2d'", LAB, "build.timeout = 2 d: "),
    ("[run]\nstdin = 'data.txt'", LAB, "run.stdin = 'data.txt': no such file in this commit"),
    ("[ranks]\nrepeat = 5000\nmatrix = { a = [1, 2, 3] }", LAB, "[ranks] makes more than 10000 ranks"),
]


@pytest.mark.parametrize(("text", "here", "words"), PLAN_REFUSED, ids=[words for _, _, words in PLAN_REFUSED])
def test_what_can_never_work_here_is_refused(text: str, here: Instance, words: str) -> None:
    assert plan_refusal(text, here=here).startswith(words)


def test_no_makefile_is_refused_with_the_next_step() -> None:
    with pytest.raises(Refused, match="there is no Makefile at the top of this commit"):
        make_plan(Manifest(), Tree(frozenset(["src/Makefile"]), "repo"), LAB, ancestor=False, runs=True)


def test_gpu_can_be_waited_for_where_the_operator_says_so() -> None:
    made = plan("[gpu]\ncount = 1", here=Instance(IMAGES, 86400.0, (), 2, 8 << 30, waits_for_gpu=True))
    assert made.gpu.count == 1
    assert "waits until one is there" in made.warnings[0]


def test_gpu_is_not_needed_to_compile() -> None:
    assert plan("", "a.cu", here=LAPTOP, runs=False).runs is False


def test_ancestors_gpu_wish_becomes_a_warning_where_there_is_none() -> None:
    made = plan('{"language": "cuda", "gpuCapable": true}', "a.cu", here=LAPTOP, json=True)
    assert made.gpu.count == 0
    assert made.warnings == ["gpuCapable: this instance has no GPU, so the run gets none"]


def test_matrix_makes_one_rank_per_combination_and_repeat() -> None:
    made = plan("[ranks]\nrepeat = 2\nmatrix = { n = [1, 2], mode = ['a'] }", parameters={"x": "9"})
    rows = [{"x": "9", "n": n, "mode": "a"} for n in ("1", "1", "2", "2")]
    assert made.ranks == rows


def test_only_known_names_are_substituted() -> None:
    assert substitute(["{n}-{m}", "{n}{n}", "{}"], {"n": "7"}) == ["7-{m}", "77", "{}"]


def test_a_value_that_looks_like_a_name_is_not_substituted_again() -> None:
    assert substitute(["{a}{b}"], {"a": "{b}", "b": "{a}"}) == ["{b}{a}"]


def test_same_build_inputs_share_a_build_whatever_the_run_is() -> None:
    one, two = plan('[run]\nargs = ["1"]'), plan("[run]\ncpus = 1")
    assert one.build_inputs() == two.build_inputs() != plan('[build]\ntarget = "all"').build_inputs()


def test_push_options_are_sorted_into_words_overrides_and_parameters() -> None:
    options = parse_options(["check", "run.args=1 'two words'", "gpu.count=0", "n=5", "empty="])
    assert "check" in options and "detach" not in options
    assert options.overrides == {("run", "args"): ["1", "two words"], ("gpu", "count"): 0}
    assert options.parameters == {"n": "5", "empty": ""}


OPTIONS_REFUSED = [
    ("chek", "unknown push option 'chek', did you mean 'check'?"),
    ("ci.skp", "unknown push option 'ci.skp'"),
    ("run.arg=1", "run.arg cannot be set by a push option"),
    ("build.image=cpp", "build.image cannot be set by a push option"),
    ("gpu.count=many", "push option gpu.count=many: "),
    ("run.args='open", "push option run.args='open: No closing quotation"),
    ("a-b=1", "push option 'a-b=1' is not understood"),
    ("=1", "push option '=1' is not understood"),
    ("", "unknown push option ''"),
]


@pytest.mark.parametrize(("option", "words"), OPTIONS_REFUSED, ids=[option for option, _ in OPTIONS_REFUSED])
def test_unknown_push_option_is_refused(option: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_options([option])
    assert str(caught.value).startswith(words)
    assert caught.value.hint.startswith("options: detach, check") or "=" in option


def test_push_option_overrides_the_manifest_and_is_validated_like_it() -> None:
    options = parse_options(["run.timeout=5s", "ranks.repeat=3"])
    manifest = read_manifest("hermes.toml", b"[run]\ntimeout = '1h'", options.overrides)
    assert (manifest.run.timeout, manifest.ranks.repeat) == (5, 3)
    with pytest.raises(ManifestError, match=r"ranks\.repeat"):
        read_manifest("hermes.toml", b"", parse_options(["ranks.repeat=0"]).overrides)
