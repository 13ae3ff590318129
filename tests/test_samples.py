"""Every sample repository does what its expect.toml says: the promise of sample-repos/README.md."""

import pytest

from hermes.demo import outcome
from hermes.samples import Expectation, differences, expectation, sample_names
from tests.service import Service


def try_sample(service: Service, name: str) -> list[str]:
    """Push a sample and say what is not as its expect.toml says for a machine without a GPU."""
    return differences_from(expectation(name, has_gpu=False), service, name)


def differences_from(expected: Expectation, service: Service, name: str) -> list[str]:
    """Push a sample and say what is not as expected here."""
    options = ("build-only",) if expected.state == "built" else ()
    pushed = service.push(name, *options)
    assert pushed.code == 0, pushed.output
    with service.client() as client:
        return differences(expected, outcome(client, pushed.owner, pushed.repo, pushed.sha))


@pytest.mark.parametrize("name", sample_names())
def test_sample_does_what_it_promises(service: Service, name: str) -> None:
    assert try_sample(service, name) == []


@pytest.mark.parametrize("name", [n for n in sample_names() if expectation(n, has_gpu=True).needs_gpu])
def test_sample_that_needs_a_gpu_is_refused_in_words_where_there_is_none(service: Service, name: str) -> None:
    pushed = service.push(name)
    assert pushed.code == 1
    assert " ! [remote rejected] HEAD -> main (this instance has no GPU)" in pushed.lines
    assert any("set gpu.count = 0 in hermes.toml" in line for line in pushed.lines)
