"""Which file an installation is configured by."""

from pathlib import Path

import pytest

from toolkit.config import load_settings
from toolkit.errors import ConfigurationError


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The application's folder and, apart from it, the current one."""
    app, current = tmp_path / "app", tmp_path / "current"
    app.mkdir()
    current.mkdir()
    monkeypatch.chdir(current)
    return app, current


def write(path: Path, port: int) -> Path:
    path.write_text(f"server: {{port: {port}}}\n", "utf-8")
    return path


def test_without_any_file_the_defaults_of_dev_stand(folders: tuple[Path, Path]) -> None:
    app, _ = folders

    settings = load_settings(app_folder=app, environ={})

    assert (settings.env, settings.source, settings.folder) == ("dev", None, app.resolve())
    assert settings.authenticator == "dev"
    assert settings.sqlite_path == app.resolve() / ".toolkit/toolkit.db"


def test_the_file_of_the_environment_comes_first_then_the_folder_of_the_application(folders: tuple[Path, Path]) -> None:
    app, current = folders

    def port() -> int:
        return load_settings(env="prod", app_folder=app, environ={}).server.port

    write(current / "toolkit.yaml", 4)
    assert port() == 4
    write(app / "toolkit.yaml", 3)
    assert port() == 3
    write(current / "toolkit.prod.yaml", 2)
    assert port() == 2
    write(app / "toolkit.prod.yaml", 1)
    assert port() == 1
    write(app / "toolkit.dev.yaml", 5)
    assert port() == 1


def test_a_named_file_wins_over_all_others(folders: tuple[Path, Path]) -> None:
    app, current = folders
    write(app / "toolkit.dev.yaml", 1)
    by_variable, by_name = write(current / "a.yaml", 2), write(current / "b.yaml", 3)

    environ = {"TOOLKIT_CONFIG": str(by_variable)}

    assert load_settings(app_folder=app, environ=environ).server.port == 2
    assert load_settings(app_folder=app, config=by_name, environ=environ).server.port == 3


def test_a_named_file_that_is_not_there_is_an_error(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no configuration file 'nowhere\.yaml'"):
        load_settings(config="nowhere.yaml", environ={})


def test_the_environment_is_dev_or_prod(folders: tuple[Path, Path]) -> None:
    assert load_settings(environ={"TOOLKIT_ENV": "prod"}).env == "prod"
    assert load_settings(env="dev", environ={"TOOLKIT_ENV": "prod"}).env == "dev"
    with pytest.raises(ConfigurationError, match="found the environment 'production'"):
        load_settings(environ={"TOOLKIT_ENV": "production"})


def test_an_unknown_toolkit_variable_is_refused_with_the_likely_name(folders: tuple[Path, Path]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'TOOLKIT_CONFG', which means nothing; did you mean 'TOOLKIT_CONFIG'"
    ):
        load_settings(environ={"TOOLKIT_CONFG": "x.yaml"})


def test_a_toolkit_variable_that_the_file_refers_to_is_known(folders: tuple[Path, Path]) -> None:
    app, _ = folders
    (app / "toolkit.yaml").write_text("server: {host: '${TOOLKIT_HOST}'}\n", "utf-8")

    assert load_settings(app_folder=app, environ={"TOOLKIT_HOST": "127.0.0.2"}).server.host == "127.0.0.2"


def test_relative_paths_start_at_the_configuration_file(folders: tuple[Path, Path]) -> None:
    app, current = folders
    (current / "etc").mkdir()
    (current / "etc" / "c.yaml").write_text(
        "database: {url: 'sqlite:///data/x.db'}\nfile_storage: {default: file://./bytes, archive: 's3://bucket/a'}\n",
        "utf-8",
    )

    settings = load_settings(app_folder=app, config="etc/c.yaml", environ={})

    etc = current.resolve() / "etc"
    assert settings.database.url.get_secret_value() == f"sqlite:///{etc}/data/x.db"
    assert settings.file_storage["default"].url.get_secret_value() == f"file://{etc}/bytes"
    assert settings.file_storage["archive"].url.get_secret_value() == "s3://bucket/a"


def test_absolute_and_in_memory_places_stay_as_they_are(tmp_path: Path) -> None:
    from toolkit.config import Settings

    settings = Settings.of(
        {"database": {"url": "sqlite:////var/lib/t.db"}, "file_storage": {"default": "memory://x", "b": "/srv/b"}},
        folder=tmp_path,
    )

    assert settings.database.url.get_secret_value() == "sqlite:////var/lib/t.db"
    assert settings.sqlite_path == Path("/var/lib/t.db")
    assert settings.file_storage["default"].url.get_secret_value() == "memory://x"
    assert settings.file_storage["b"].url.get_secret_value() == "file:///srv/b"


def test_what_kubernetes_says_about_a_service_of_that_name_is_passed_over() -> None:
    environ = {
        "TOOLKIT_SERVICE_HOST": "10.0.0.1",
        "TOOLKIT_SERVICE_PORT": "80",
        "TOOLKIT_SERVICE_PORT_HTTP": "80",
        "TOOLKIT_PORT": "tcp://10.0.0.1:80",
        "TOOLKIT_PORT_80_TCP": "tcp://10.0.0.1:80",
        "TOOLKIT_PORT_80_TCP_PROTO": "tcp",
        "TOOLKIT_PORT_80_TCP_PORT": "80",
        "TOOLKIT_PORT_80_TCP_ADDR": "10.0.0.1",
        "TOOLKIT_WEB_SERVICE_HOST": "10.0.0.2",
        "TOOLKIT_WEB_PORT": "udp://10.0.0.2:53",
    }

    assert load_settings(environ=environ).server.port == 8000
    with pytest.raises(ConfigurationError, match="'TOOLKIT_PORT', which means nothing"):
        load_settings(environ={"TOOLKIT_PORT": "8000"})
