"""Command-line options that several benchmarks have in common."""

from __future__ import annotations

import argparse


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where the result goes; every benchmark has these."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument(
        "--out", metavar="FILE.json", help="also write the result there, with its origin, and the table beside it (.md)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """What the networks run on."""
    parser.add_argument("--device", help="cpu or cuda; by default what a run would take")


def add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    """How often everything is timed."""
    parser.add_argument("--rounds", type=int, default=default, help=f"each times everything once; by default {default}")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The scale of the networks."""
    parser.add_argument("--profile", help="profile of params.yaml; by default the active one")


def add_side(parser: argparse._ActionsContainer) -> None:
    """The size of a square image."""
    parser.add_argument("--side", type=int, default=0, help="px of a square image; by default the test size")


def add_image_size(parser: argparse._ActionsContainer, *, default: tuple[int, int] | None = None) -> None:
    """Height and width of the images."""
    _add_pair(parser, "--image-size", ("HEIGHT", "WIDTH"), default, "px of the images, at which masks end")


def add_input_size(parser: argparse._ActionsContainer, *, default: tuple[int, int] | None = None) -> None:
    """Short and long side inside the networks."""
    _add_pair(parser, "--input-size", ("SHORT", "LONG"), default, "px of the sides inside the networks")


def pair(values: list[int] | tuple[int, int] | None) -> tuple[int, int] | None:
    """Two numbers of the command line as a tuple."""
    return tuple(values) if values else None


def _add_pair(
    parser: argparse._ActionsContainer, flag: str, names: tuple[str, str], default: tuple[int, int] | None, text: str
) -> None:
    usual = f"; by default {default[0]} {default[1]}" if default else ""
    parser.add_argument(flag, type=int, nargs=2, metavar=names, default=default, help=text + usual)
