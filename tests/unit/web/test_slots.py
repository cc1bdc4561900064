"""Slots for what takes long: some in all, a few for each person."""

from __future__ import annotations

import pytest

from joulebook.web.slots import NoSlot, Slots

ALICE, BOB, CHARLIE = 1, 2, 3


def test_a_person_has_a_few_and_others_have_theirs():
    slots = Slots(4, per_person=2)
    slots.take(ALICE)
    slots.take(ALICE)
    with pytest.raises(NoSlot, match="yours are running"):
        slots.take(ALICE)
    slots.take(BOB)
    slots.take(CHARLIE)
    with pytest.raises(NoSlot, match="others use all of them"):
        slots.take(BOB)
    slots.release(ALICE)
    slots.take(BOB)
    for person in (ALICE, BOB, BOB, CHARLIE):
        slots.release(person)
    assert not slots._held
