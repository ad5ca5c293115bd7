"""`reprolib data`: list the data sets, show a card, or prepare one and say what is in it."""

from __future__ import annotations

import argparse

from reprolib.params import Profile, load_profile

SOURCES = ("from_archive", "from_dir")

HELP = "fetch, verify, convert and describe a data set; without a name, list them all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the data set; without it, all are listed")
    parser.add_argument("--list", action="store_true", help="all data sets, and what this machine has of them")
    parser.add_argument("--card", action="store_true", help="what is known of the data set: terms, files, counts")
    parser.add_argument(
        "--from-archive",
        action="append",
        metavar="PATH",
        help="an archive you have, its URL, or the folder of all, in place of fetching; again for a further one",
    )
    parser.add_argument("--from-dir", metavar="PATH", help="the unpacked folder you have, in place of fetching")


def run(options: argparse.Namespace) -> int:
    """The verb's exit status: 1 where the checks find errors. Raises DataError for what the user has to mend."""
    from reprolib.data import listing
    from reprolib.data.cards import CARDS

    profile = load_profile(options.profile)
    if options.list or not options.name:
        print(listing.table(profile.datasets))
        return 0
    if options.card:
        if options.name not in CARDS:
            raise ValueError(f"no card of {options.name!r}; there are {', '.join(CARDS)}")
        print(listing.card_text(CARDS[options.name]))
        return 0
    return _prepare(profile, options)


def _prepare(profile: Profile, options: argparse.Namespace) -> int:
    from reprolib.data.cards import CARDS
    from reprolib.data.catalog import prepare
    from reprolib.data.report import data_report
    from reprolib.files import write_json

    name = options.name
    arguments = dict(profile.datasets.get(name, {}))
    arguments |= {option: value for option in SOURCES if (value := getattr(options, option))}
    report = data_report(prepare(name, arguments))
    failed = False
    for split, entry in report["splits"].items():
        print(f"{name} {split}: {entry['images']} images, {entry['instances']} instances")
        print(entry["lint_text"])
        failed = failed or bool(entry["lint"]["errors"])
    print("\n".join(report["published_text"]))
    if name in profile.datasets:  # what the profile's runs depend on
        write_json(profile.results / "data" / f"{name}.json", report)
    else:
        entry = f"{{from_dir: {options.from_dir}}}" if CARDS[name].of_the_user else "{}"
        print(f"to use it in runs, add to profiles.{profile.name}.datasets in params.yaml: {name}: {entry}")
    return 1 if failed else 0
