"""All cases, in one place."""

from tests.clients.builds import (
    cases_adding,
    cases_config,
    cases_contexts,
    cases_errors,
    cases_files,
    cases_language,
    cases_mounts,
    cases_newer,
    cases_run,
    cases_stages,
)
from tests.clients.builds.case import Case

ALL: tuple[Case, ...] = (
    *cases_files.CASES,
    *cases_run.CASES,
    *cases_config.CASES,
    *cases_stages.CASES,
    *cases_errors.CASES,
    *cases_mounts.CASES,
    *cases_adding.CASES,
    *cases_language.CASES,
    *cases_contexts.CASES,
)
NEWER: tuple[Case, ...] = cases_newer.CASES
