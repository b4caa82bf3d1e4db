"""An object in another class, and back: what others see of it meanwhile."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from abc import ABC, abstractmethod

import pytest

from execution_tracker.integrations._dressing import dress, owners_of, undress


class Bell:
    """Rings."""

    def __init__(self, tone="ding"):
        self.tone = tone
        self.ring_again = self.ring

    def ring(self):
        return [self.tone]


class Abstract(ABC):
    @abstractmethod
    def ring(self): ...


class Concrete(Abstract):
    def ring(self):
        return ["dong", *([] if super().ring() is None else ["?"])]


class Slotted:
    __slots__ = ("tone",)

    def ring(self):
        return [self.tone]


class Reducing(Bell):
    def __reduce__(self):
        return type(self), (self.tone,)


class Alone(Bell):
    def __reduce__(self):
        return "ALONE"


ALONE = Alone()


def louder(base, owners):
    return {"ring": lambda thing: [*base.ring(thing), *owners]}


def test_a_dressed_object_does_what_its_new_class_does_and_all_others_stay():
    bell, other = Bell(), Bell()
    dress(bell, "a", louder)
    assert (bell.ring(), other.ring()) == (["ding", "a"], ["ding"])
    assert owners_of(bell) == ("a",)
    assert owners_of(other) == ()
    undress(bell, "a")
    assert bell.ring() == ["ding"]
    assert type(bell) is Bell
    undress(bell, "a")
    assert type(bell) is Bell


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_dress_lasts_until_its_last_owner_takes_it_off(first):
    bell = Bell()
    dress(bell, "a", louder)
    dress(bell, "b", louder)
    assert bell.ring() == ["ding", "a", "b"]
    undress(bell, first)
    (last,) = {"a", "b"} - {first}
    assert bell.ring() == ["ding", last]
    undress(bell, last)
    assert type(bell) is Bell


def test_others_meet_the_class_that_the_object_came_with():
    bell = Bell()
    state = dict(vars(bell))
    dress(bell, "a", louder)
    assert bell.__class__ is Bell
    assert isinstance(bell, Bell)
    assert vars(bell) == state
    dressed = type(bell)
    assert (dressed.__name__, dressed.__qualname__, dressed.__module__) == ("Bell", "Bell", __name__)
    assert dressed.__doc__ == "Rings."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [Bell, Concrete, Reducing])
def test_a_dressed_object_is_pickled_as_it_was(kind, protocol):
    thing = kind()
    plain = pickle.dumps(thing, protocol)
    dress(thing, "a", louder)
    assert pickle.dumps(thing, protocol) == plain
    assert type(pickle.loads(pickle.dumps(thing, protocol))) is kind
    assert pickle._dumps(thing, protocol)  # the pickler in Python checks classes in other ways


def test_an_object_that_is_pickled_by_name_still_is():
    dress(ALONE, "a", louder)
    assert pickle.loads(pickle.dumps(ALONE)) is ALONE
    undress(ALONE, "a")


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy])
def test_a_copy_is_not_dressed(made):
    bell = Bell()
    dress(bell, "a", louder)
    assert type(made(bell)) is Bell


def test_who_lists_the_subclasses_of_his_class_finds_no_dress_in_his_list():
    listed = []

    class Listed(Bell):
        def __init_subclass__(cls, **options):
            super().__init_subclass__(**options)
            listed.append(cls)

    class Own(Listed):
        pass

    bell = Own()
    dress(bell, "a", louder)
    assert bell.ring() == ["ding", "a"]
    assert listed == [Own]
    undress(bell, "a")
    assert type(bell) is Own


def test_abstract_bases_and_slots_do_not_stand_in_the_way():
    concrete, slotted = Concrete(), Slotted()
    dress(concrete, "a", louder)
    assert concrete.ring() == ["dong", "a"]
    assert isinstance(concrete, Abstract)
    with pytest.raises(TypeError):  # it has no room for a dress, and stays as it is
        dress(slotted, "a", louder)
    assert type(slotted) is Slotted


def test_a_dress_is_freed_with_what_wore_it():
    class Owner:
        pass

    bell, owner = Bell(), Owner()
    dress(bell, owner, lambda base, owners: {})
    kept = weakref.ref(owner)
    del bell, owner
    gc.collect()
    assert kept() is None
    assert Bell.__subclasses__() == [Reducing, Alone]
