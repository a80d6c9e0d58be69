"""The Sphinx configuration of the site; the pages are plain Markdown and can be read without it."""

from importlib.metadata import version as version_of

project = "pytest-background-tasks"
author = copyright = "the pytest-background-tasks contributors"  # noqa: A001 - Sphinx's word
version = release = version_of(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project
html_copy_source = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3  # [text](page.md#heading) works as on a code host

add_module_names = False  # users import a class from another module than the one that defines it
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings describe the types in words
default_role = "literal"  # docstrings quote names as Markdown does
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"asyncio\..*"),  # no intersphinx: that would download Python's documentation
    ("py:class", r"pytest_background_tasks\._explore\..*\.(PossibleFaults|Withdrawn)"),  # for the search only
]
