from __future__ import annotations

import pytest
import torch

from reprolib.engine.schedules import learning_rate, total_iterations
from reprolib.params import Schedule


def test_step_schedule_of_iemask_on_coco():
    schedule = Schedule(
        lr=0.0025, iterations=720_000, milestones=(480_000, 640_000), warmup_iterations=1000, warmup_factor=0.001
    )
    expected = {
        0: 2.5e-6,
        500: 0.0025 * 0.5005,
        999: 0.0025 * (0.001 * 0.001 + 0.999),
        1000: 0.0025,
        479_999: 0.0025,
        480_000: 0.00025,
        640_000: 0.000025,
        719_999: 0.000025,
    }
    for iteration, rate in expected.items():
        assert learning_rate(schedule, iteration, 720_000) == pytest.approx(rate, rel=1e-9)


def test_epochs_become_iterations_and_milestones_follow():
    schedule = Schedule(lr=1.0, epochs=12, milestones=(8, 11), batch_size=4)
    total = total_iterations(schedule, images=101)
    assert total == 303
    rates = [learning_rate(schedule, iteration, total) for iteration in range(total)]
    assert rates[201] == 1.0 and rates[202] == pytest.approx(0.1)  # 8 / 12 of 303 is 202
    assert rates[277] == pytest.approx(0.1) and rates[278] == pytest.approx(0.01)  # 11 / 12 is 277.75


def test_half_an_epoch_of_few_images_is_one_iteration():
    assert total_iterations(Schedule(epochs=0.5, batch_size=16), images=3) == 1


def test_one_cycle_rises_to_lr_and_falls_to_almost_nothing():
    schedule = Schedule(lr=0.004, policy="one_cycle", iterations=100)
    rates = [learning_rate(schedule, iteration, 100) for iteration in range(100)]
    assert rates[0] == pytest.approx(0.004 / 25)
    assert max(rates) == rates[29] == pytest.approx(0.004)
    assert rates[-1] == pytest.approx(0.004 / 25 / 1e4)


@pytest.mark.parametrize("total", [10, 37, 200])
def test_one_cycle_equals_torch(total):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.3, total_steps=total, cycle_momentum=False)
    schedule = Schedule(lr=0.3, policy="one_cycle", iterations=total)
    for iteration in range(total):
        assert learning_rate(schedule, iteration, total) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        if iteration < total - 1:
            theirs.step()


@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_one_cycle_of_a_few_iterations_stays_within_bounds(total):
    schedule = Schedule(lr=1.0, policy="one_cycle", iterations=total)
    assert all(0 < learning_rate(schedule, iteration, total) <= 1 for iteration in range(total))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "neither of iterations and epochs"),
        ({"iterations": 5, "epochs": 1.0}, "both of iterations and epochs"),
        ({"iterations": -5}, "negative"),
    ],
)
def test_length_must_be_given_once(fields, message):
    with pytest.raises(ValueError, match=message):
        total_iterations(Schedule(**fields), images=10)


def test_no_images_is_an_error_with_a_mend():
    with pytest.raises(ValueError, match="reprolib data"):
        total_iterations(Schedule(iterations=5), images=0)


def test_unknown_policy_is_named():
    with pytest.raises(ValueError, match=r"'poly'.*step or one_cycle"):
        learning_rate(Schedule(policy="poly", iterations=5), 0, 5)
