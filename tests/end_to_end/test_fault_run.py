"""The fault run in its short form; see fault_run.py for the long one."""

from pathlib import Path

import pytest

from tests.end_to_end.fault_run import run


@pytest.mark.real
async def test_nothing_is_lost_while_workers_are_killed_under_load(tmp_path: Path) -> None:
    account = await run(8.0, seed=7, folder=tmp_path)
    assert account.sound, account
    assert account.asked > 20
    assert account.deaths > 5
    before, after = account.descriptors
    assert after <= before + 8, "descriptors are given back"
