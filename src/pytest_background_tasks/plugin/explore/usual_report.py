"""The report of a usual run that has passed, and is withdrawn because the exploration of its test fails afterwards.

Otherwise the test would count twice: as passed and as failed.

Private names of pytest used here, tested from 8.4 on: the stash key of the plugin for ``--junitxml``, and the reporters
of that plugin, its counts, and the function that opens a reporter.
"""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.junitxml import xml_key


def withdraw(config: pytest.Config, report: pytest.TestReport) -> None:
    """Withdraw the report that a test has passed from the terminal's summary and from the JUnit file.

    Args:
        config: the configuration of the session.
        report: the report of its failure, before pytest receives it.
    """
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        passed = terminal.stats.get("passed", [])
        passed[:] = [each for each in passed if each.nodeid != report.nodeid]
    if (xml := config.stash.get(xml_key, None)) is not None:
        _withdraw_from_junit(xml, report)


def _withdraw_from_junit(xml: Any, report: pytest.TestReport) -> None:
    new = xml._opentestcase(report)
    reporters = xml.node_reporters_ordered
    old = [each for each in reporters if each is not new and _name(each) == _name(new)]
    reporters[:] = [each for each in reporters if each not in old]
    xml.stats["passed"] -= len(old)


def _name(reporter: Any) -> tuple[str, str]:
    element = reporter.to_xml()
    return element.get("classname"), element.get("name")
