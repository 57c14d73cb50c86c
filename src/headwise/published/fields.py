"""The fields of one object in a released file, read by name; what cannot be used is remembered by name."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from headwise.published.items import Place, Unread
from headwise.published.values import UnusableError, number, shown

Value = TypeVar("Value")


class Fields:
    """`value`: the object; `place`: where it stands; `unread`: what was asked for and cannot be used."""

    def __init__(self, value: Mapping[str, Any], place: Place) -> None:
        self.value = value
        self.place = place
        self.unread: list[Unread] = []

    def first(self, names: tuple[str, ...], read: Callable[[Any], Value] = number) -> Value | None:  # type: ignore[assignment]  # of numbers, where nothing else is asked for
        """The first that can be used of the fields of these names; nulls and objects, which hold more, are passed."""
        for key in names:
            if self.value.get(key) is None or isinstance(self.value[key], dict):
                continue
            try:
                return read(self.value[key])
            except UnusableError as error:
                self.refuse(str(error), key)
        return None

    def refuse(self, reason: str, *keys: str) -> None:
        """Remember that a field cannot be used; each once."""
        unread = Unread(self.place.below(*map(shown, keys)), reason)
        if unread not in self.unread:
            self.unread.append(unread)

    def inner(self, key: str) -> "Fields":
        """The fields of an object inside, none where there is no such object; what they refuse is remembered here."""
        held = self.value.get(key)
        found = Fields(held if isinstance(held, dict) else {}, self.place.below(shown(key)))
        found.unread = self.unread
        return found
