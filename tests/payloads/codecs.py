"""Codecs of the tests: one of the documentation with real keys, and one that can be told to fail."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.fernet import Fernet, MultiFernet


class EncryptedPayloads:
    """Encrypts with the first key, and reads what any of the keys has encrypted."""

    def __init__(self, *keys: bytes) -> None:
        self.fernet = MultiFernet([Fernet(key) for key in keys])

    def encode(self, data: bytes) -> bytes:
        return self.fernet.encrypt(data)

    def decode(self, data: bytes) -> bytes:
        return self.fernet.decrypt(data)


class Moody:
    """A codec that turns bytes round, and raises what it is told to."""

    def __init__(self) -> None:
        self.refuses: Callable[[bytes], Exception | None] = lambda data: None

    def encode(self, data: bytes) -> bytes:
        if (error := self.refuses(data)) is not None:
            raise error
        return b"!" + data[::-1]

    def decode(self, data: bytes) -> bytes:
        if not data.startswith(b"!"):
            raise ValueError("not mine")
        return data[:0:-1]
