"""Single checks on small tables made by hand, at the edges of what rounding allows."""

from __future__ import annotations

import pytest

from reprolib.audit import ablation, additivity, averages, columns, ordering, same_system
from reprolib.audit.finding import Severity
from reprolib.audit.printed import printed_table
from reprolib.audit.text import severities
from reprolib.papers.reported import COLUMNS, parse_table


@pytest.fixture
def make():
    """Function that makes a table of rows, each its metrics with printed values, and what differs of the rest."""

    def table(*rows, paper="p", number=1):
        lines = [",".join(COLUMNS)]
        for index, (cells, head) in enumerate(rows, start=1):
            for metric, printed in cells.items():
                fields = {
                    **dict.fromkeys(COLUMNS, ""),
                    **{"method": "Mask R-CNN", "backbone": "ResNet-50", "dataset": "SSDD", "split": "test"},
                    **{
                        "is_ours": "0",
                        "row_kind": "comparison",
                        "confidence": "certain",
                        "value_confidence": "certain",
                    },
                    **{"unit": {"params_M": "M", "time_ms": "ms", "fps": "fps"}.get(metric, "%")},
                    **{"paper": paper, "table": str(number), "row": str(index), "metric": metric, "value": printed},
                    **head,
                }
                lines.append(",".join(fields[name] for name in COLUMNS))
        return printed_table(parse_table("\n".join(lines) + "\n", name="t.csv"))

    return table


def found(check, *tables):
    return [finding for finding in check(list(tables)) if finding is not None]


def test_ap_may_touch_ap50_within_rounding(make):
    assert not found(ordering.ordering, make(({"segm/AP": "30.1", "segm/AP50": "30.0"}, {})))
    (finding,) = found(ordering.ordering, make(({"segm/AP": "30.2", "segm/AP50": "30.0"}, {})))
    assert finding.arithmetic == "mask AP 30.2 > mask AP50 30.0"


def test_ten_thresholds(make):
    """AP50 50, AP75 30: the mean of ten is from (50 + 5 x 30) / 10 = 20 to (50 + 30) / 2 = 40."""
    for printed, count in (("20.0", 0), ("40.0", 0), ("19.8", 1), ("40.2", 1)):
        cells = {"segm/AP": printed, "segm/AP50": "50.0", "segm/AP75": "30.0"}
        assert len(found(ordering.threshold_mean, make((cells, {})))) == count


@pytest.mark.parametrize(
    ("printed", "severity"),
    [
        ("40.0", None),
        ("20.0", None),
        ("40.1", "note"),
        ("41.0", "note"),
        ("42.0", "warning"),
        ("46.0", "error"),
        ("14.0", "error"),
    ],
)
def test_how_far_outside_the_size_classes(printed, severity, make):
    cells = {"segm/AP": printed, "segm/APs": "20.0", "segm/APm": "30.0", "segm/APl": "40.0"}
    assert [str(f.severity) for f in found(averages.size_classes, make((cells, {})))] == [severity][
        : severity is not None
    ]


def test_two_classes_of_which_the_average_is_taken(make):
    """(30.0 + 31.0) / 2 = 30.5; the classes can move it by 0.05, its own rounding by 0.05."""
    for printed, severity in (("30.5", None), ("30.6", "warning"), ("30.7", "error"), ("30", None)):
        cells = {"segm/AP": printed, "segm/AP/car": "30.0", "segm/AP/bus": "31.0"}
        seen = [str(f.severity) for f in found(averages.class_average, make((cells, {})))]
        assert seen == ([severity] if severity else []), printed


def test_parameters_of_two_components(make):
    def ladder(total):
        own = {"method": "SEANet (Mask R-CNN)", "is_ours": "1", "row_kind": "ablation"}
        return make(
            ({"params_M": "40.0"}, {"row_kind": "ablation"}),
            ({"params_M": "42.0"}, {**own, "components": "A"}),
            ({"params_M": "43.0"}, {**own, "components": "B"}),
            ({"params_M": total}, {**own, "components": "A;B"}),
        )

    for total, severity in (
        ("45.0", None),
        ("45.2", "note"),
        ("44.8", "note"),
        ("45.3", "warning"),
        ("44.7", "warning"),
    ):
        seen = [str(f.severity) for f in found(additivity.additivity, ladder(total))]
        assert seen == ([severity] if severity else []), total  # four cells, half a unit each: 0.2


def test_a_step_that_loses_names_the_component(make):
    own = {"method": "SEANet (Mask R-CNN)", "is_ours": "1", "row_kind": "ablation"}
    table = make(
        ({"segm/AP": "30.0"}, {"row_kind": "ablation"}),
        ({"segm/AP": "31.0"}, {**own, "components": "A"}),
        ({"segm/AP": "30.5"}, {**own, "components": "A;B"}),
    )
    (finding,) = found(ablation.steps, table)
    assert "adding B to A lowers mask AP" in finding.message
    assert finding.arithmetic == "mask AP 30.5 < 31.0 (-0.5)"
    assert [cell.row for cell in finding.cells] == [3, 2]


def test_one_run_in_two_tables(make):
    first = make(({"segm/AP": "30.04", "segm/AP50": "50.0"}, {}))
    assert not found(same_system.same_run, first, make(({"segm/AP": "30.0"}, {}), number=2))
    (finding,) = found(same_system.same_run, first, make(({"segm/AP": "30.1"}, {}), number=2))
    assert finding.severity == "error"
    other_split = {"split": "unstated"}
    (finding,) = found(same_system.same_run, first, make(({"segm/AP": "30.1"}, other_split), number=2))
    assert finding.severity == "warning"
    assert not found(same_system.same_run, first, make(({"segm/AP": "30.1"}, {"split": "val"}), number=2))
    assert not found(same_system.same_run, first, make(({"segm/AP": "30.1"}, {"backbone": "ResNet-101"}), number=2))


def test_two_papers(make):
    first = make(({"segm/AP": "30.0", "segm/APs": "20.0", "segm/APm": "30.0"}, {}))
    for printed, severity in (("32.0", "note"), ("32.1", "warning"), ("30.0", "note")):
        second = make(({"segm/AP": printed, "segm/APs": "20.0", "segm/APm": "30.0"}, {}), paper="q")
        (finding,) = found(same_system.across_papers, first, second)
        assert (finding.severity, finding.papers) == (severity, ("p", "q"))
        assert ("quotes" in finding.message) == (printed == "30.0")


def test_boxes_and_masks_in_one_row_and_in_two_tables(make):
    (finding,) = found(same_system.box_and_mask, make(({"segm/APl": "10.0", "bbox/APl": "30.0"}, {})))
    assert (finding.severity, finding.arithmetic) == ("note", "APl box 30.0 / mask 10.0 (+20.0)")
    masks, boxes = make(({"segm/AP": "50.0"}, {})), make(({"bbox/AP": "66.0"}, {}), number=2)
    (finding,) = found(same_system.box_and_mask, masks, boxes)
    assert (finding.severity, finding.tables) == ("warning", ("p-2", "p-1"))


def test_a_cell_with_other_decimals(make):
    table = make(*(({"segm/AP": printed}, {}) for printed in ("30.1", "30.2", "30.33")))
    (finding,) = found(columns.digits, table)
    assert finding.arithmetic == "30.33 among 2 numbers with 1 decimals"


def test_what_severities_mean_is_said():
    said = severities()
    assert list(said) == list(Severity) and all(text.endswith(".") for text in said.values())
