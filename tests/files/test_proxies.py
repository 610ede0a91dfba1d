"""A proxy of the environment is never asked for this machine, and named where it is asked for another."""

from urllib.request import getproxies_environment, proxy_bypass_environment

import pytest

from encore_ray.files.proxies import in_the_way, spare_loopback

VARIABLES = [f"{name}_proxy" for name in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("no_proxy", [None, "", "intern.example", "localhost, .corp", "*"])
def test_this_machine_is_spared_and_other_hosts_are_as_before(variable: str, no_proxy: str | None) -> None:
    environ = {variable: "http://proxy:3128", **({} if no_proxy is None else {"NO_PROXY": no_proxy})}
    spare_loopback(environ)
    proxies = {"no": environ["no_proxy"]}
    assert environ["NO_PROXY"] == environ["no_proxy"]
    assert all(proxy_bypass_environment(host, proxies) for host in ("127.0.0.1", "localhost", "127.0.0.1:8265"))
    assert bool(proxy_bypass_environment("intern.example", proxies)) == (no_proxy in ("intern.example", "*"))
    assert bool(proxy_bypass_environment("api.example", proxies)) == (no_proxy == "*")
    again = dict(environ)
    spare_loopback(again)
    assert again == environ


def test_without_a_proxy_nothing_is_set() -> None:
    environ: dict[str, str] = {"PATH": "/bin"}
    spare_loopback(environ)
    assert environ == {"PATH": "/bin"}


def test_a_proxy_in_the_way_is_named_with_how_to_leave_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_the_way("http://mlflow.corp:5000") == ""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    spare_loopback()
    assert getproxies_environment()["http"] == "http://proxy:3128"
    assert in_the_way("http://mlflow.corp:5000") == (
        " Requests go through the proxy http://proxy:3128 of HTTP_PROXY; NO_PROXY=mlflow.corp leaves it out."
    )
    assert in_the_way("http://127.0.0.1:8265") == ""
    assert in_the_way("https://mlflow.corp") == ""
    assert in_the_way("sqlite:///x.db") == ""
