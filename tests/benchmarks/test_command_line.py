"""Every benchmark is a subcommand with help, and shares the options of the output."""

import pytest

from benchmarks.__main__ import BENCHMARKS, main, make_parser


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_does(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert BENCHMARKS[name].__doc__.splitlines()[0] in shown
    assert f"python -m benchmarks {name}" in shown and "--json" in shown and "--out FILE.json" in shown


def test_the_list_of_benchmarks_is_shown(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {module.__doc__.splitlines()[0]}" in shown for name, module in BENCHMARKS.items())


@pytest.mark.parametrize("arguments", [[], ["sleep"], ["torchvision", "--precision", "int8"], ["ladder"]])
def test_what_does_not_exist_is_refused(arguments):
    with pytest.raises(SystemExit, match="2"):
        make_parser().parse_args(arguments)


def test_a_mistake_of_the_user_is_one_line(capsys):
    assert main(["torchvision", "--device", "cpu", "--rounds", "0"]) == 2
    assert capsys.readouterr().err.splitlines() == ["benchmarks: rounds start at 1, not rounds=0"]
