"""What a database URL may be, and that a wrong one is refused without a word of its password."""

import pytest

from toolkit.errors import ConfigurationError
from toolkit.storage import Database


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:pass@db:5432/app",
        "postgres://app:pa%2Fss@db/app",
        "postgresql://[::1]:5432/app",
        "postgresql://one:5432,two:5433/app?target_session_attrs=primary",
        "postgresql:///app?host=/var/run/postgresql",
    ],
)
def test_hosts_ports_and_sockets_of_postgresql_are_taken(url: str) -> None:
    assert Database(url).dialect == "postgresql"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://app:s3cret/x@db/app", "a password / is written %2F"),
        ("postgresql://app:s3cret#x@db/app", "# is %23"),
        ("postgresql://app:x@db:s3cret/app", "the port in the database URL is no number"),
        ("mysql+x://app:s3cret@db/app", r"begins with 'mysql\+x'; expected sqlite:///path"),
        ("s3cret@db/app", "names no kind of database"),
        ("app:s3cret@db/app", "names no kind of database"),
        ("sqlite:///", "begins with 'sqlite'"),
        ("sqlite:///a.db?key=s3cret", r"has a '\?', as options do.*expected the plain path of a file"),
        ("sqlite:///file:a.db", "begins with 'file:'"),
        ("sqlite:///:memory:", "is a database in memory"),
    ],
)
def test_another_url_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        Database(url)
    assert error.value.key == "database.url"
    assert "s3cret" not in str(error.value)
