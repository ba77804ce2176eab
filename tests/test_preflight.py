import pytest

from emotion_ray.distributed.preflight import Machine, Need, room, trials_at_once, worker_need
from emotion_ray.errors import EmotionRayError

LAPTOP = [Machine(2)]
CLUSTER = [Machine(4, 1), Machine(4, 1), Machine(3)]


@pytest.mark.parametrize(
    ("need", "fits"),
    [
        (Need(1), 11),
        (Need(2), 5),
        (Need(3), 3),
        (Need(4), 2),
        (Need(5), 0),
        (Need(1, 1), 2),
        (Need(1, 0.5), 4),
        (Need(1, 0.4), 4),
        (Need(1, 0.6), 2),
        (Need(1, 2), 0),
    ],
)
def test_a_worker_fits_on_one_machine_or_not_at_all(need, fits):
    assert room(CLUSTER, need) == fits


def test_a_share_of_one_gpu_is_of_one_gpu():
    assert room([Machine(16, 2)], Need(1, 0.6)) == 2
    assert room([Machine(16, 2)], Need(1, 0.5)) == 4
    assert room([Machine(16, 8)], Need(1, 2)) == 4


def test_all_cpus_are_shared_out():
    assert worker_need(1, "auto", None, 1, LAPTOP) == Need(2)
    assert worker_need(2, "auto", None, 1, LAPTOP) == Need(1)
    assert worker_need(3, "cpu", None, 1, CLUSTER) == Need(3)
    assert worker_need(4, "cpu", None, 1, CLUSTER) == Need(2)
    assert worker_need(4, "cpu", 1, 1, CLUSTER).threads == 1


def test_cpus_are_shared_out_where_the_gpus_are():
    assert worker_need(1, "auto", None, 1, [Machine(16), Machine(4, 1)]) == Need(4, 1)
    assert worker_need(2, "cuda", None, 0.5, [Machine(16), Machine(4, 1)]) == Need(2, 0.5)


def test_gpus_are_taken_where_there_are_enough():
    assert worker_need(2, "auto", 1, 1, CLUSTER) == Need(1, 1)
    assert worker_need(2, "auto", 1, 1, CLUSTER).device == "cuda"
    assert worker_need(3, "auto", 1, 1, CLUSTER).device == "cpu"
    assert worker_need(4, "cuda", 1, 0.5, CLUSTER) == Need(1, 0.5)


@pytest.mark.parametrize(
    ("workers", "device", "cpus", "machines", "says"),
    [
        (3, "auto", None, LAPTOP, "3 workers x 1 CPU = 3 CPU, and this machine has 2 CPU and 0 GPU, room for 2: "
                                  "give --workers 2 or less, or add machines"),
        (2, "cpu", 2, LAPTOP, "2 workers x 2 CPU = 4 CPU, and this machine has 2 CPU and 0 GPU, room for 1: "
                              "give --workers 1 or less, give a smaller --cpus-per-worker, or add machines"),
        (1, "cpu", 8, LAPTOP, "room for 0: give a smaller --cpus-per-worker, or add machines"),
        (1, "cuda", 1, LAPTOP, "1 worker x 1 GPU = 1 GPU, and this machine has 2 CPU and 0 GPU, room for 0: "
                               "give --device cpu"),
        (3, "cuda", 1, CLUSTER, "3 workers x 1 GPU = 3 GPU, and the 3 machines have 11 CPU and 2 GPU, room for 2: "
                                "give --workers 2 or less, a smaller --gpus-per-worker, or --device cpu"),
        (3, "cpu", 4, CLUSTER, "3 workers x 4 CPU = 12 CPU, and the 3 machines have 11 CPU and 2 GPU, room for 2"),
    ],
)  # fmt: skip
def test_workers_that_can_never_run_are_refused_with_the_sum(workers, device, cpus, machines, says):
    with pytest.raises(EmotionRayError) as caught:
        worker_need(workers, device, cpus, 1, machines)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_flag_is_the_one_that_was_given():
    with pytest.raises(EmotionRayError, match="give --workers-per-trial 2 or less"):
        worker_need(3, "cpu", 1, 1, LAPTOP, "--workers-per-trial")


def test_trials_at_once_are_as_many_as_there_is_room_for():
    assert trials_at_once(None, 20, 1, Need(1), LAPTOP) == 2
    assert trials_at_once(1, 20, 1, Need(1), LAPTOP) == 1
    assert trials_at_once(None, 3, 1, Need(1), CLUSTER) == 3
    assert trials_at_once(None, 20, 2, Need(1), CLUSTER) == 5
    assert trials_at_once(None, 20, 1, Need(1, 0.5), CLUSTER) == 4


def test_the_process_beside_each_trial_needs_a_little_too():
    assert trials_at_once(None, 20, 2, Need(1), [Machine(4)]) == 2
    assert trials_at_once(None, 20, 2, Need(1), [Machine(4)], watching=0.1) == 1
    with pytest.raises(EmotionRayError, match=r"each of 2 workers x 1 CPU, and 0.1 CPU beside = 2.1 CPU, and this"):
        trials_at_once(None, 20, 2, Need(1), LAPTOP, watching=0.1)


def test_trials_that_can_never_run_at_once_are_refused_with_the_sum():
    with pytest.raises(EmotionRayError) as caught:
        trials_at_once(3, 20, 1, Need(1), LAPTOP)
    assert str(caught.value) == (
        "3 trials at once, each of 1 worker x 1 CPU = 3 CPU, and this machine has 2 CPU and 0 GPU, room for 2: "
        "give --max-concurrent 2, or add machines"
    )
