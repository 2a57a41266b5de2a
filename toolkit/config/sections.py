"""The sections of the configuration, key by key; ``docs/configuration.md`` shows them in YAML.

A default here holds in both environments; :mod:`toolkit.config.settings` lists the few that differ.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_YEAR = 365 * 24 * 60 * 60.0


def _no_boolean(found: Any) -> Any:
    """YAML makes true of ``yes`` and ``on``, which would be 1; text stays, for a variable holds nothing else."""
    if isinstance(found, bool):
        raise PydanticCustomError("number", "a number")
    return found


_Port = Annotated[int, BeforeValidator(_no_boolean)]
_Seconds = Annotated[float, BeforeValidator(_no_boolean), Field(le=_YEAR)]
"""Finite and no longer than a year: what the machine waits with does not take any number."""


def _host(found: str) -> str:
    if not found or set(found) & set("/\\@?#, "):
        raise PydanticCustomError("host", "a name or an address such as example.com, without a scheme or a path")
    return found


def _origin(found: str) -> str:
    # A browser writes it in one way only, and it is compared as it stands.
    if not _ORIGIN.match(found):
        raise PydanticCustomError(
            "origin", "scheme://host[:port] as a browser sends it: lower case, no path, no slash at the end"
        )
    return found


def _content_type(found: str) -> str:
    if not set(found) & set("/*?["):
        raise PydanticCustomError("content_type", "a content type, or a pattern such as application/pdf or image/*")
    return found


_ORIGIN = re.compile(r"^[a-z][a-z0-9+.-]*://[^/\\@?#,*\sA-Z]+(?<!:)$")
_Host = Annotated[str, AfterValidator(_host)]
_Origin = Annotated[str, AfterValidator(_origin)]
_ContentType = Annotated[str, AfterValidator(_content_type)]
TaskEvent = Literal[
    "task.opened",
    "task.reminded",
    "task.escalated",
    "task.assigned",
    "task.delegated",
    "task.sent_back",
    "task.returned",
    "task.commented",
    "task.completed",
    "task.cancelled",
    "task.expired",
]
"""What people are told of."""


class Section(BaseModel):
    """Parent of all sections: read once, never changed, and no key passes unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)


class DatabaseSettings(Section):
    """Where runs, tasks and decisions are kept."""

    url: SecretStr = SecretStr("sqlite:///.toolkit/toolkit.db")
    """``sqlite:///file`` (a relative path starts at the configuration file) or ``postgresql://user:password@host/name``."""
    synchronous: Literal["full", "normal"] = "full"
    """SQLite only. ``normal`` lets a power cut take back what was reported as done; ``full`` does not."""


class FileStorageSettings(Section):
    """One named place for bytes: an fsspec URL and the arguments its file system takes."""

    url: SecretStr
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
    redirect: bool = False
    """Send downloads to an address that the storage signs for five minutes (S3); else the bytes go through us."""
    shared: bool = False
    """Every process of the installation reaches it, wherever it runs: results of steps that are large may go there."""


class FileRouteSettings(Section):
    """Which new files go to a storage other than the default one; the first route that fits counts."""

    storage: str
    content_type: _ContentType = "*"
    """A pattern such as ``image/*``."""
    filename: str = "*"
    """A pattern such as ``*.csv``, in any case."""


class RetentionSettings(Section):
    """How long files that fit are kept; the first rule that fits counts."""

    days: int | None = Field(ge=1, le=365_000)
    """``null`` is for ever; calendars end soon after the largest number."""
    content_type: _ContentType = "*"
    storage: str = "*"
    created_by: str = "*"


class FileSettings(Section):
    """Which files are taken, and what becomes of them."""

    content_types: tuple[_ContentType, ...] = Field(default=("*",), min_length=1)
    """Patterns such as ``image/*``; what counts is what the content shows."""
    store_once: bool = False
    """Let files of equal content in one storage share their bytes."""
    inline_bytes: int = Field(default=256 * 1024, ge=1024)
    """A step's result above it goes to the storage that is ``shared``; without one it stays in the database."""
    routes: tuple[FileRouteSettings, ...] = ()
    retention: tuple[RetentionSettings, ...] = ()
    """Without a rule files are kept until somebody deletes them. What something alive refers to is kept anyway."""
    sweep_seconds: _Seconds = Field(default=3600, gt=0)
    """How often one of the processes looks for expired files, bytes without a row, and scans that did not end."""
    orphan_seconds: _Seconds = Field(default=86400, ge=60)
    """Bytes without a row are deleted when they are so old; an upload must not take longer."""


class ModelPrice(Section):
    """What a model costs per million tokens; without it the price list of pydantic-ai is asked."""

    input_per_million: Decimal = Field(ge=0)
    output_per_million: Decimal = Field(ge=0)
    currency: str = Field(default="USD", min_length=3, max_length=3)


class AIModelSettings(Section):
    """A model that agents know by its key under ``ai_models``: OpenAI or anything that speaks its protocol."""

    provider: str = "openai"
    """``openai`` (with ``base_url``: any compatible server), or a name given to ``register_model_factory``."""
    api: Literal["chat", "responses"] = "chat"
    """Which of the two protocols; ``chat`` (chat completions) is what most compatible servers offer."""
    model: str | None = Field(default=None, min_length=1)
    """The name that the provider gives it, such as ``gpt-5-mini``; only a factory may do without."""
    base_url: str | None = None
    api_key: SecretStr | None = None
    timeout_seconds: _Seconds = Field(default=120, gt=0)
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Settings of pydantic-ai for each request: ``temperature``, ``max_tokens`` and so on."""
    price: ModelPrice | None = None
    fallback: tuple[str, ...] = ()
    """Other keys under ``ai_models``, asked in this order while this model cannot answer; their own do not count."""


class LoggingSettings(Section):
    """How much is logged, and whether for a person (``text``) or a machine (``json``, one object a line)."""

    level: LogLevel = "INFO"
    loggers: dict[str, LogLevel] = Field(default_factory=dict)
    """Levels by logger name, such as ``toolkit.workflows: DEBUG``."""
    format: Literal["text", "json"] = "text"


class ServerSettings(Section):
    """Where the web process listens and whom it answers."""

    host: str = "127.0.0.1"
    port: _Port = Field(default=8000, ge=0, le=65535)
    """0 takes any free port."""
    allowed_hosts: tuple[_Host, ...] = ("localhost", "127.0.0.1", "::1")
    """Values of the Host header that are answered, without port; ``*.example.com`` covers subdomains."""
    allowed_origins: tuple[_Origin, ...] = ()
    """Origins besides our own whose pages may call the API, such as ``https://portal.example.com``."""
    shutdown_seconds: _Seconds = Field(default=1.0, ge=0)
    """How long open requests may go on after a signal to stop."""


class ApiKeySettings(Section):
    """One API key, as ``toolkit key create`` prints it: the key itself is never written down."""

    hash: SecretStr
    kind: Literal["service", "person"] = "service"
    principal: str = ""
    """Who acts with it, as recorded; its name under ``api_keys`` unless given."""
    display_name: str = ""
    permissions: Annotated[tuple[str, ...], BeforeValidator(lambda found: ("*",) if found == "*" else found)] = ()
    """Such as ``runs:read``; ``"*"`` is all of them. A key may do nothing that it was not given."""


class SecuritySettings(Section):
    """Who is asking."""

    authenticator: str | None = Field(default=None, pattern=r"^(dev|api_keys|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*)$")
    """``dev`` (believes X-Toolkit-User), ``api_keys``, or ``package.module:object``.

    Unset, it is ``api_keys`` as soon as there are any.
    """
    api_keys: dict[str, ApiKeySettings] = Field(default_factory=dict)


class SmtpChannelSettings(Section):
    """E-mail to each person who has an address."""

    type: Literal["smtp"]
    host: str
    port: _Port = Field(default=587, ge=1, le=65535)
    sender: str
    username: str | None = None
    password: SecretStr | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"


class WebhookChannelSettings(Section):
    """A POST for everything that happens, signed as Standard Webhooks."""

    type: Literal["webhook"]
    url: SecretStr
    secret: SecretStr


class SlackChannelSettings(Section):
    """An incoming webhook of Slack or of what takes the same."""

    type: Literal["slack"]
    url: SecretStr


ChannelSettings = Annotated[
    SmtpChannelSettings | WebhookChannelSettings | SlackChannelSettings, Field(discriminator="type")
]


class TemplateSettings(Section):
    """How messages about one event read; what is left out reads as usual."""

    subject: str | None = None
    text: str | None = None


class NotificationSettings(Section):
    """How people hear of tasks."""

    base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Where this installation is reached from outside; links in messages begin with it."""
    links: bool = False
    """Messages that ask a person carry a link that answers without a login; needs ``base_url``."""
    channels: dict[str, ChannelSettings] = Field(default_factory=dict)
    templates: dict[TaskEvent, TemplateSettings] = Field(default_factory=dict)
    """By event, such as ``task.opened``."""


class UserSettings(Section):
    """A person of the directory."""

    display_name: str = ""
    email: str | None = None
    channels: tuple[str, ...] | None = None
    """The channels by which this person is told; all unless given."""


class GroupSettings(Section):
    """A group of the directory."""

    display_name: str = ""
    members: tuple[str, ...] | None = None


class SubstitutionSettings(Section):
    """Somebody acts for an absent person, from the first day to the last (UTC)."""

    user: str
    substitute: str
    first_day: date
    last_day: date

    @model_validator(mode="after")
    def _check_people_and_days(self) -> SubstitutionSettings:
        if self.user == self.substitute:
            raise ValueError(f"{self.user!r} cannot stand in for themselves")
        if self.last_day < self.first_day:
            raise ValueError(f"the last day, {self.last_day}, is before the first, {self.first_day}")
        return self


class DirectorySettings(Section):
    """People and groups that exist from the start; REST may add others."""

    users: dict[str, UserSettings] = Field(default_factory=dict)
    groups: dict[str, GroupSettings] = Field(default_factory=dict)
    substitutions: tuple[SubstitutionSettings, ...] = ()


class WorkerSettings(Section):
    """How this process takes part in the work."""

    lease_seconds: _Seconds = Field(default=30, ge=1)
    """After so long without a sign of life others take over the runs of a process."""
    concurrency: int = Field(default=1000, ge=1)
    """How many runs one process advances at the same time; waiting runs do not count."""
    poll_seconds: _Seconds = Field(default=1.0, ge=0.01)
    """How often a process looks for due work that nobody announced."""
    warm_cache_mb: int = Field(default=24, ge=0)
    """Memory for waiting runs that can go on without replay; beyond it they are rows only."""
    max_recoveries: int = Field(default=5, ge=1, le=50)
    """A run is parked when it was lost so often without progress."""
    drain_seconds: _Seconds = Field(default=0.5, ge=0)
    """How long running steps may go on after a signal to stop; cut short, they run again elsewhere."""


class RuleSettings(Section):
    """What uploaded versions of rules may do here."""

    function_nodes: bool = False
    """Let uploads have JavaScript in them; it is evaluated in child processes only, whoever answers for the version."""
    evaluation_seconds: _Seconds = Field(default=1.0, gt=0)
    """How long one evaluation of an uploaded graph may take before its child process is ended."""


class LimitSettings(Section):
    """The largest things accepted from outside."""

    upload_bytes: int = Field(default=25 * 1024 * 1024, ge=1)
    upload_files: int = Field(default=100, ge=1)
    """In one request."""
    request_bytes: int = Field(default=1024 * 1024, ge=1)
    """Of a request body that is not an upload."""
