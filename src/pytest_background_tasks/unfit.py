"""The error for a library that lacks what the file of ours that is named after it works with: it is another version."""


class Unfit(Exception):
    """The library is no version that we know.

    Args:
        library: its name on the package index, which is its import name as well.
        known: the versions that we know, in words.
        lost: what is not offered with others, as a sentence.
    """

    def __init__(self, library: str, known: str, lost: str) -> None:
        super().__init__(
            f"{library} {_version_of(library)} is installed, and this plugin knows {library} {known}: {lost}"
        )


_met: dict[str, None] = {}


def remember(error: Unfit) -> None:
    """Remember that a library could not be served, for the errors that may follow from it."""
    _met[str(error)] = None


def sentences() -> tuple[str, ...]:
    """Return what is to be said of the libraries that could not be served in this process."""
    return tuple(_met)


def _version_of(library: str) -> str:
    import importlib.metadata  # seldom needed, and it brings fifty modules

    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"
