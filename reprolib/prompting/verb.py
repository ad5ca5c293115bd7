"""`reprolib segment`: boxes on an image in, masks out, on the command line."""

from __future__ import annotations

import argparse
import re

HELP = "masks of given boxes on an image, by a trained run: a picture and COCO JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options, beside the profile's name."""
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument(
        "--boxes",
        nargs="+",
        action="extend",
        default=[],
        metavar="X1,Y1,X2,Y2",
        help="pixels of the stored image, corner to corner; or a JSON file: a list of such boxes, or COCO annotations",
    )
    parser.add_argument("--weights", default="", help="results/<profile>/weights/<run>.safetensors, or an experiment")
    parser.add_argument("--experiment", default="", help="of which the weights are, where the file does not say")
    parser.add_argument("--seed", type=int, default=0, help="of the experiment's run")
    parser.add_argument("--labels", nargs="+", default=[], metavar="CLASS", help="one for all or each box; else found")
    parser.add_argument("--out", default="segments", metavar="FOLDER", help="by default segments/")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one")
    parser._negative_number_matcher = re.compile(r"-[\d.]")  # "-3,5,20,20" is an invalid box, not an option


def run(options: argparse.Namespace) -> None:
    """Segment, write the files and print what was found and where it lies."""
    from reprolib.prompting.segment import segment_file  # imported here, since torch takes long to load

    segmented = segment_file(
        options.image,
        boxes=options.boxes,
        labels=options.labels,
        weights=options.weights,
        experiment=options.experiment,
        profile=options.profile,
        seed=options.seed,
        device=options.device,
        out=options.out,
    )
    print(segmented.text())
