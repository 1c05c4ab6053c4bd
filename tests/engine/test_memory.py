"""The budget: no two loads take the same gigabytes, and a refusal says who has them."""

import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engine import memory
from engine.errors import Code
from engine.memory import Budget, default_budget, gigabytes, machine_memory, must_go

GB = 10**9


def plenty() -> int:
    return 10_000 * GB


def test_a_reservation_is_promised_once() -> None:
    budget = Budget(400 * GB, plenty)
    assert budget.reserve("a", 121 * GB) is None
    assert budget.reserve("b", 238 * GB) is None
    refusal = budget.reserve("c", 185 * GB)
    assert refusal is not None
    assert (refusal.code, refusal.retryable) == (Code.INSUFFICIENT_MEMORY, True)
    assert (refusal.expected, refusal.found) == ("at most 41.0 GB", "185 GB")
    assert "b 238 GB, a 121 GB hold the rest" in refusal.message
    assert "unload b" in refusal.remedy
    assert budget.reserved == {"a": 121 * GB, "b": 238 * GB}
    budget.release("b")
    assert budget.check("c", 185 * GB) is None
    assert "c" not in budget.reserved
    assert budget.reserve("c", 185 * GB) is None


def test_a_model_may_change_its_own_reservation() -> None:
    budget = Budget(100 * GB, plenty)
    assert budget.reserve("a", 90 * GB) is None
    assert budget.reserve("a", 100 * GB) is None
    assert budget.reserve("a", 101 * GB) is not None
    assert budget.reserved == {"a": 100 * GB}


def test_what_is_promised_but_not_taken_yet_is_not_free() -> None:
    free = 100 * GB
    budget = Budget(1000 * GB, lambda: free)
    assert budget.reserve("a", 60 * GB) is None
    refusal = budget.reserve("b", 50 * GB)
    assert refusal is not None
    assert "the machine's memory has 40.0 GB left" in refusal.message
    budget.measure("a", 60 * GB)  # a has taken it, and free memory says so
    free = 40 * GB
    assert budget.reserve("b", 40 * GB) is None


def test_a_model_that_fits_no_budget_is_told_so() -> None:
    refusal = Budget(10 * GB, plenty).reserve("a", 20 * GB)
    assert refusal is not None
    assert "even alone" in refusal.remedy


def test_two_loads_at_once_cannot_both_take_the_last_gigabytes() -> None:
    budget = Budget(10 * GB, plenty)
    together = threading.Barrier(8)
    answers: list[bool] = []

    def load(name: str) -> None:
        together.wait()
        answers.append(budget.reserve(name, 6 * GB) is None)

    threads = [threading.Thread(target=load, args=(f"m{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(True) == 1


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 50), max_size=6), st.integers(1, 200))
def test_the_models_named_would_suffice(reserved: dict[str, int], missing: int) -> None:
    names = must_go(reserved, missing)
    freed = [reserved[name] for name in names]
    if sum(reserved.values()) < missing:
        assert names == ()
    else:
        assert sum(freed) >= missing
        assert sum(freed) - min(freed) < missing


def test_the_machine_has_memory_and_the_budget_is_a_share_of_it() -> None:
    machine = machine_memory()
    assert 0 < machine.available <= machine.total
    assert 0 < default_budget() <= machine.total
    assert default_budget(1.5) == 1_500_000_000


def test_a_cgroup_limit_is_the_machines_size(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    outer = tmp_path / "outer"
    (outer / "memory.max").write_text(f"{2 * 10**8}\n")
    (outer / "memory.current").write_text(f"{15 * 10**7}\n")
    (outer / "memory.stat").write_text("anon 1\ninactive_file 30000000\nactive_file 20000000\n")
    proc = tmp_path / "cgroup"
    proc.write_text("0::/outer/inner\n")
    found = machine_memory(memory.cgroup_folders(proc, tmp_path))
    assert (found.total, found.available) == (2 * 10**8, 10**8)


def test_view_and_sizes() -> None:
    budget = Budget(10 * GB, plenty)
    budget.reserve("a", 3 * GB)
    budget.measure("a", 2 * GB)
    view = budget.view()
    assert (view.budget, view.reserved, view.measured) == (10 * GB, 3 * GB, 2 * GB)
    assert budget.view(7).measured == 7
    assert [gigabytes(n) for n in (121 * GB, 94 * 10**6, 5 * GB)] == ["121 GB", "94 MB", "5.0 GB"]


def test_a_device_bounds_what_may_be_promised_in_all() -> None:
    budget = Budget(400 * GB, plenty)
    assert budget.reserve("a", 200 * GB, 300 * GB) is None
    refusal = budget.reserve("b", 150 * GB, 300 * GB)
    assert refusal is not None
    assert "the 300 GB working set of the device has 100 GB left" in refusal.message
    assert budget.reserve("b", 150 * GB) is None
