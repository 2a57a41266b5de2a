"""What a configuration may say, and what an operator is told when it says something else."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from toolkit.config import Settings, load_settings
from toolkit.errors import ConfigurationError


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "toolkit.yaml"
    path.write_text(text, "utf-8")
    return load_settings(config=path, environ=environ)


def refused(tmp_path: Path, text: str, **environ: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, **environ)
    assert caught.value.__cause__ is None
    return caught.value


def test_a_file_is_merged_over_the_defaults_key_by_key(tmp_path: Path) -> None:
    settings = load(tmp_path, "worker:\n  concurrency: 3\nlogging:\n  loggers: {toolkit.workflows: DEBUG}\nlimits:\n")

    assert (settings.worker.concurrency, settings.worker.lease_seconds) == (3, 30)
    assert (settings.logging.format, settings.logging.loggers) == ("text", {"toolkit.workflows": "DEBUG"})
    assert settings.limits.upload_bytes == 25 * 1024 * 1024


def test_prod_logs_json_and_believes_nobody(tmp_path: Path) -> None:
    settings = Settings.defaults("prod", folder=tmp_path)

    assert settings.logging.format == "json"
    assert settings.authenticator is None


def test_api_keys_choose_their_authenticator(tmp_path: Path) -> None:
    content = {"security": {"api_keys": {"erp": {"hash": "sha256:" + "0" * 64}}}}

    assert Settings.of(content, env="prod", folder=tmp_path).authenticator == "api_keys"


def test_an_unknown_key_is_refused_with_its_path_and_the_likely_name(tmp_path: Path) -> None:
    error = refused(tmp_path, "databse: {url: x}\n")
    assert error.key == "databse"
    assert "'databse' is not a known key; did you mean 'database'?" in str(error)
    assert str(tmp_path / "toolkit.yaml") in str(error)

    assert "'server.prot' is not a known key; did you mean 'port'?" in str(refused(tmp_path, "server: {prot: 1}"))
    nested = refused(tmp_path, "ai_models: {smart: {model: m, price: {input_per_milion: 1, output_per_million: 2}}}")
    assert "'ai_models.smart.price.input_per_milion' is not a known key; did you mean 'input_per_million'?" in str(
        nested
    )
    assert "'env' is not a known key" in str(refused(tmp_path, "env: prod"))


def test_a_wrong_value_is_quoted_with_what_was_expected(tmp_path: Path) -> None:
    error = refused(tmp_path, "server: {port: many}")

    assert error.key == "server.port"
    assert "'server.port': found 'many', expected a valid integer" in str(error)
    assert "'worker': found a list, expected" in str(refused(tmp_path, "worker: [1]"))
    assert "'file_storage.archive.url' is missing" in str(refused(tmp_path, "file_storage: {archive: {options: {}}}"))
    key = "security: {api_keys: {erp: {hash: x, permissions: 5}}}"
    assert "'security.api_keys.erp.permissions': found 5, expected a valid tuple" in str(refused(tmp_path, key))
    both = str(refused(tmp_path, "server: {port: -1}\nworker: {concurrency: 0}"))
    assert "'server.port'" in both
    assert "'worker.concurrency'" in both


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: [", "not valid YAML, line 1"),
        ("- a\n", "found a list, expected a mapping of sections"),
        ("1: x\n", "found the key 1, expected names"),
        ("server: {port: 1}\nserver: {port: 2}\n", "key 'server' stands twice, line 2"),
        ("server: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("worker: &x [*x]\n", "'worker.0': found an alias inside of what its anchor names, expected values that end"),
        ("server: &x {host: *x}\n", "'server.host': found an alias inside of what its anchor names"),
        ("worker: " + "[" * 3000, "an anchor holds itself, or values nest too deep"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert says in str(refused(tmp_path, text))


def test_variables_are_put_in_after_parsing(tmp_path: Path) -> None:
    text = "ai_models: {smart: {model: '${MODEL:-small}', api_key: '${KEY}', base_url: 'http://${HOST}/v1'}}"

    settings = load(tmp_path, text, KEY="a: b # {not yaml}", HOST="gw")

    model = settings.ai_models["smart"]
    assert model.api_key is not None
    assert model.api_key.get_secret_value() == "a: b # {not yaml}"
    assert (model.model, model.base_url) == ("small", "http://gw/v1")


def test_a_variable_may_hold_a_number(tmp_path: Path) -> None:
    assert load(tmp_path, "server: {port: '${PORT}'}", PORT="9000").server.port == 9000


def test_a_missing_variable_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    error = refused(tmp_path, "ai_models: {smart: {model: m, api_key: '${OPENAI_API_KEY}'}}")

    assert error.key == "ai_models.smart.api_key"
    assert "'ai_models.smart.api_key' needs the environment variable 'OPENAI_API_KEY', which is not set" in str(error)
    assert "expected ${NAME}" in str(refused(tmp_path, "server: {host: '${no-name}'}"))


def test_a_reference_inside_of_a_reference_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, "ai_models: {m: {model: x, api_key: '${A:-${B:-s3cret}}'}}", B="b")

    assert error.key == "ai_models.m.api_key"
    assert "has a reference inside of ${A:-otherwise}; expected plain text after :-" in str(error)
    assert "s3cret" not in str(error)


def test_a_doubled_dollar_writes_the_reference_itself(tmp_path: Path) -> None:
    assert load(tmp_path, "server: {host: '$${HOST}'}").server.host == "${HOST}"


def test_no_message_quotes_a_value_from_the_environment_or_a_secret(tmp_path: Path) -> None:
    from_environment = refused(tmp_path, "server: {port: '${CANARY}'}", CANARY="s3cret")
    assert "s3cret" not in str(from_environment)
    assert "not shown" in str(from_environment)

    assert "s3cret" not in str(refused(tmp_path, "ai_models: {m: {model: m, api_key: {oops: s3cret}}}"))
    assert "s3cret" not in str(refused(tmp_path, "database: {url: [s3cret]}"))


def test_secrets_are_masked_wherever_settings_are_shown(tmp_path: Path) -> None:
    settings = Settings.of(
        {
            "database": {"url": "postgresql://app:s3cret@db/app?sslpassword=s3cret"},
            "file_storage": {
                "default": {
                    "url": "s3://bucket",
                    "options": {"key": "s3cret", "client_kwargs": {"endpoint_url": "http://minio"}},
                }
            },
            "ai_models": {
                "m": {"model": "gpt", "api_key": "s3cret", "settings": {"extra_headers": {"X-Team": "s3cret"}}}
            },
            "security": {"api_keys": {"erp": {"hash": "sha256:s3cret", "display_name": "ERP"}}},
        },
        folder=tmp_path,
    )

    shown = settings.shown()

    assert "s3cret" not in f"{shown}{settings!r}{settings}{settings.ai_models}{settings.file_storage}"
    assert shown["database"]["url"] == "postgresql://app:***@db/app?sslpassword=***"
    assert shown["file_storage"]["default"]["options"]["client_kwargs"] == {"endpoint_url": "http://minio"}
    assert shown["security"]["api_keys"]["erp"]["display_name"] == "ERP"


def test_nothing_in_an_option_or_behind_the_host_of_a_hook_is_shown(tmp_path: Path) -> None:
    azure = {"connection_string": "AccountKey=s3cret", "sas": "s3cret", "pin": 53227, "account_name": "acme"}
    hooks = {
        "chat": {"type": "slack", "url": "https://hooks.slack.com/services/T0/B0/s3cret"},
        "erp": {"type": "webhook", "url": "https://u:s3cret@erp.example.com:8443/in?x=s3cret", "secret": "s3cret"},
        "odd": {"type": "slack", "url": "https://u:s3/cret@erp.example.com/in"},
        "bare": {"type": "slack", "url": "s3cret"},
    }
    settings = Settings.of(
        {
            "file_storage": {"az": {"url": "az://c/p?sig=s3cret", "options": azure}},
            "notifications": {"channels": hooks},
            "ai_models": {
                "m": {
                    "model": "gpt",
                    "base_url": "https://s3cret@gw.example.com/v1?code=s3cret",
                    "settings": {"max_tokens": 400, "temperature": 0, "extra_body": {"user": "s3cret", "pin": 53227}},
                }
            },
        },
        folder=tmp_path,
    )

    shown = settings.shown()

    assert "s3cret" not in str(shown)
    assert "s3/cret" not in str(shown)
    assert "53227" not in str(shown)
    assert shown["file_storage"]["az"] | {"redirect": 0, "shared": 0} == {
        "url": "az://c/p?sig=***",
        "options": {"connection_string": "***", "sas": "***", "pin": "***", "account_name": "acme"},
        "redirect": 0,
        "shared": 0,
    }
    assert {name: channel["url"] for name, channel in shown["notifications"]["channels"].items()} == {
        "chat": "https://hooks.slack.com/***",
        "erp": "https://erp.example.com:8443/***",
        "odd": "***",
        "bare": "***",
    }
    assert shown["ai_models"]["m"]["base_url"] == "https://***@gw.example.com/v1?code=***"
    assert shown["ai_models"]["m"]["settings"]["max_tokens"] == 400


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:s3/cret@db/app", "postgresql://app:***@db/app"),
        ("postgresql://app:s3@cret@db/app", "postgresql://app:***@db/app"),
        ("postgresql://app:s3?c#ret@db:5432/app", "postgresql://app:***@db:5432/app"),
        ("postgresql://db:5432/app?user=app&password=s3cret&sslmode=require", None),
        ("postgresql://app@db/app", "postgresql://app@db/app"),
    ],
)
def test_a_password_is_masked_up_to_its_end(url: str, shown: str | None, tmp_path: Path) -> None:
    settings = Settings.of({"database": {"url": url}}, folder=tmp_path)

    assert settings.shown()["database"]["url"] == (shown or url.replace("s3cret", "***"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "notifications: {channels: {mail: {type: smtp, host: h, sender: s, password: 53227}}}",
            "'notifications.channels.mail.password': found a number that is not shown here, expected text: put quotes",
        ),
        (
            "notifications: {channels: {erp: {type: webhook, url: 'http://x', secret: 0x53227}}}",
            "'notifications.channels.erp.secret': found a number that is not shown here, expected text: put quotes",
        ),
        (
            "notifications: {channels: {chat: s3cret}}",
            "'notifications.channels.chat': found text that is not shown here, expected a mapping",
        ),
        ("notifications: s3cret", "'notifications': found text that is not shown here, expected a mapping"),
        ("ai_models: {m: s3cret}", "'ai_models.m': found text that is not shown here, expected a mapping"),
        ("ai_models: {m: {model: x, settings: s3cret}}", "'ai_models.m.settings': found text that is not shown"),
        ("security: {api_keys: {erp: s3cret}}", "'security.api_keys.erp': found text that is not shown here"),
        ("database: 'sqlite:///s3cret'", "'database': found text that is not shown here, expected a mapping"),
        ("file_storage: 's3://s3cret@b'", "'file_storage': found text that is not shown here, expected a mapping"),
        ("ai_models: {m: {model: x, api_key: 'a${s3cret!}'}}", "'ai_models.m.api_key' has a '${' that begins no"),
        ("security: !s3cret x", "constructor for the tag (text that begins with ! or * or & needs quotes)"),
        ("security: *s3cret", "undefined alias (text that begins with ! or * or & needs quotes)"),
    ],
)
def test_what_stands_where_a_secret_belongs_is_told_by_its_kind(text: str, says: str, tmp_path: Path) -> None:
    message = str(refused(tmp_path, text))

    assert says in message
    assert not any(secret in message for secret in ("s3cret", "53227", str(0x53227)))


def test_a_value_from_the_environment_is_not_quoted_for_a_channel_either(tmp_path: Path) -> None:
    channel = "notifications: {channels: {mail: {type: '${KIND}', host: h, sender: s, port: '${PORT}'}}}"

    assert "'notifications.channels.mail.port': found text that is not shown" in str(
        refused(tmp_path, channel, KIND="smtp", PORT="s3cret")
    )
    assert "s3cret" not in str(refused(tmp_path, channel, KIND="s3cret", PORT="1"))


def test_an_unknown_key_or_type_of_a_channel_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    channels = "notifications: {channels: {mail: {%s}}}"

    misspelt = refused(tmp_path, channels % "type: smtp, host: h, sender: s, pasword: x")
    strange = refused(tmp_path, channels % "type: slack, url: 'https://x', thread: x")

    assert misspelt.key == "notifications.channels.mail.pasword"
    assert "'notifications.channels.mail.pasword' is not a known key; did you mean 'password'?" in str(misspelt)
    assert "'notifications.channels.mail.thread' is not a known key; known here: type, url" in str(strange)
    assert "mail.type': found 'slak', expected 'smtp' or 'webhook' or 'slack'" in str(
        refused(tmp_path, channels % "type: slak")
    )
    assert "mail.type' is missing; expected 'smtp' or 'webhook' or 'slack'" in str(
        refused(tmp_path, channels % "host: h")
    )
    assert "folder" not in str(refused(tmp_path, "zzz: 1"))


def test_a_merge_key_brings_what_the_mapping_does_not_say_itself(tmp_path: Path) -> None:
    text = """
ai_models:
  small: &small {model: small, timeout_seconds: 7, price: &price {input_per_million: 1, output_per_million: 2}}
  large: &large {<<: *small, model: large}
  other: {timeout_seconds: 9, price: {<<: *price, currency: EUR}, <<: *large}
"""

    models = load(tmp_path, text).ai_models

    assert [(one.model, one.timeout_seconds) for one in models.values()] == [("small", 7), ("large", 7), ("large", 9)]
    assert [one.price and one.price.currency for one in models.values()] == ["USD", "USD", "EUR"]
    twice = refused(tmp_path, "worker: &w {poll_seconds: 1}\nserver: {<<: *w, port: 1, port: 2}")
    assert "key 'port' stands twice, line 2" in str(twice)


def test_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    assert "would forget every run" in str(refused(tmp_path, "database: {url: 'sqlite:///:memory:'}"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("sqlite:///a.db?timeout=3", "has a '?'"),
        ("sqlite:////tmp/a.db?mode=ro", "has a '?'"),
        ("sqlite:///a.db#old", "has a '#'"),
        ("sqlite:///file:a.db", "begins with 'file:'"),
        ("sqlite:///file::memory:", "begins with 'file:'"),
    ],
)
def test_options_of_a_sqlite_file_are_refused(tmp_path: Path, url: str, found: str) -> None:
    error = refused(tmp_path, f"database: {{url: '{url}'}}")

    assert error.key == "database.url"
    assert f"'database.url': the path of the SQLite file {found}; expected a plain path" in str(error)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1.0e+30", "31536001"])
@pytest.mark.parametrize(
    "key",
    [
        "worker.lease_seconds",
        "worker.poll_seconds",
        "worker.drain_seconds",
        "files.sweep_seconds",
        "files.orphan_seconds",
        "rules.evaluation_seconds",
        "server.shutdown_seconds",
    ],
)
def test_a_time_that_no_machine_can_wait_is_refused(tmp_path: Path, key: str, number: str) -> None:
    section, name = key.split(".")

    error = refused(tmp_path, f"{section}: {{{name}: {number}}}")

    assert error.key == key
    assert "expected" in str(error)


def test_a_pause_between_two_looks_is_no_shorter_than_ten_milliseconds(tmp_path: Path) -> None:
    assert load(tmp_path, "worker: {poll_seconds: 0.01}").worker.poll_seconds == 0.01
    assert "'worker.poll_seconds': found 1e-09, expected greater than or equal to 0.01" in str(
        refused(tmp_path, "worker: {poll_seconds: 1.0e-9}")
    )


def test_a_port_is_a_number(tmp_path: Path) -> None:
    assert "'server.port': found True, expected a number" in str(refused(tmp_path, "server: {port: yes}"))
    assert "'worker.lease_seconds': found True, expected a number" in str(
        refused(tmp_path, "worker: {lease_seconds: on}")
    )
    assert refused(tmp_path, "server: {port: 80.5}").key == "server.port"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = Settings.defaults(folder=tmp_path)

    with pytest.raises(ValidationError, match="frozen"):
        settings.env = "prod"  # type: ignore[misc]


def test_money_in_a_price_is_decimal(tmp_path: Path) -> None:
    price = (
        load(tmp_path, "ai_models: {m: {model: m, price: {input_per_million: '1.25', output_per_million: '10'}}}")
        .ai_models["m"]
        .price
    )

    assert price is not None
    assert (price.input_per_million, price.currency) == (Decimal("1.25"), "USD")
