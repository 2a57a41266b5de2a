"""What an installation is told from outside: one frozen object, read once by whoever starts the process."""

from toolkit.config.sections import (
    AIModelSettings,
    ApiKeySettings,
    DatabaseSettings,
    FileStorageSettings,
    LimitSettings,
    LoggingSettings,
    ModelPrice,
    SecuritySettings,
    ServerSettings,
    WorkerSettings,
)
from toolkit.config.settings import Environment, Settings
from toolkit.config.sources import load_settings

__all__ = [
    "AIModelSettings",
    "ApiKeySettings",
    "DatabaseSettings",
    "Environment",
    "FileStorageSettings",
    "LimitSettings",
    "LoggingSettings",
    "ModelPrice",
    "SecuritySettings",
    "ServerSettings",
    "Settings",
    "WorkerSettings",
    "load_settings",
]
