"""The error for an unsupported version of a library, which lacks what the integration named after it uses."""


class UnsupportedVersion(Exception):
    """The installed version of a library is not supported.

    Args:
        library: the name on the package index, which is also the import name.
        known: the supported versions, in words.
        lost: the feature that is missing with other versions, as a sentence.
    """

    def __init__(self, library: str, known: str, lost: str) -> None:
        super().__init__(
            f"{library} {_version_of(library)} is installed, but this plugin supports {library} {known}: {lost}"
        )


_met: dict[str, None] = {}


def remember(error: UnsupportedVersion) -> None:
    """Remember an unsupported library, for the errors that it may cause."""
    _met[str(error)] = None


def sentences() -> tuple[str, ...]:
    """Return a sentence for each unsupported library in this process."""
    return tuple(_met)


def _version_of(library: str) -> str:
    import importlib.metadata  # rarely needed, and it imports fifty modules

    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"
